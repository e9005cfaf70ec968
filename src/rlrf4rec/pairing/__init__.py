"""Preference pairs: rewards and texts in; the best and the worst of each user out."""
