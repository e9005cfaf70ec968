"""What texts look like: texts and prompts in; measures of length, copying, titles, genres and variety out."""
