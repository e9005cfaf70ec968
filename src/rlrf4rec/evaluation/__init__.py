"""What was found: scores of lists in; metrics by list and user, differences and claims out."""
