"""Contracts of the tables between stages: each is checked when it is written and when it is read."""
