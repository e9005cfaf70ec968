"""Policies that are as far from the LLM as another one."""
