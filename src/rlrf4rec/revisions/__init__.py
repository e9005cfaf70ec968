"""Comparing two revisions of the repository with nothing but Git: `rlrf4rec compare`."""
