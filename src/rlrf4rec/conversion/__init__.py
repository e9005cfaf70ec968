"""A model as it comes made into one that is kept: read whole, asked whether it can serve here, written."""
