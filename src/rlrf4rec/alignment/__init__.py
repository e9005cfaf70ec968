"""Tuning the LLM: preference pairs in; a LoRA adapter out, by our DPO or TRL's."""
