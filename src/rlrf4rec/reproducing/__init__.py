"""Whether a commit's headline numbers come out again: `rlrf4rec reproduce`."""
