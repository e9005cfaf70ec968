"""Held-out reward against the number of preference pairs: pairs in, adapters of parts of them and a curve out."""
