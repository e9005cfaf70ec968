"""Vectors of texts: texts in; one vector each out."""
