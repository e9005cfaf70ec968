"""What the LLM is told of a user: items and history in; a prompt, or a text without an LLM, out."""
