"""The final look: users that are evaluated once, by what a committed run has made, and the list of all looks."""
