"""Re-rankers trained again on what a policy wrote: vectors and lists in, weights, curves and scores of lists out."""
