"""Optuna studies that resume: an objective in; trials, the best among them, out."""
