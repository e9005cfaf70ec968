"""What an LLM has memorised of a data set: the LLM, items and lines of ratings in; rates beside their controls out."""
