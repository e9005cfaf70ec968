"""Re-rankers: features of items, lists and vectors of texts in; nets, their losses and their training out."""
