"""What is known of a user without an LLM, and what can be chosen among an LLM's texts: the study's own knowledge."""
