"""Texts of an LLM that a server runs: prompts in; answers out."""
