"""Tuning the LLM: preference pairs in; a LoRA adapter out, by our DPO, TRL's, or fine-tuning."""
