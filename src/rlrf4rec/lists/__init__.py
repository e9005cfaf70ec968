"""Folds, histories and candidate lists: interactions in; frozen tables of people and lists out."""
