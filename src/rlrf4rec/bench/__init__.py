"""What sampling and DPO cost, each arm in a process of its own: prompts and pairs in; CPU-seconds and memory out."""
