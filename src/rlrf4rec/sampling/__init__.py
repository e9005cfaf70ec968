"""N texts for each prompt: the LLM and prompts in; tokens and their log-probability out."""
