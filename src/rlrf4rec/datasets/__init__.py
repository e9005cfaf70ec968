"""Readers of data sets, and one cleaning for all: raw files in; interactions, users and items out."""
