"""How far a policy is from another model, on texts that one of the two wrote."""
