"""Re-rankers: the catalogue, lists and vectors of texts in; nets, their losses and their training out."""
