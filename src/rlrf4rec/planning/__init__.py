"""How large a study has to be: `rlrf4rec power`."""
