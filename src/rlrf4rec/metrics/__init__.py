"""Metrics of ranked lists and the statistics of their differences: pure functions."""
