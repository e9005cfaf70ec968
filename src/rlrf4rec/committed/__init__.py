"""Whether the committed numbers are true: `rlrf4rec check`."""
