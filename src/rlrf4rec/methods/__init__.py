"""What else the round's pairs can do to the LLM: the study's own ways of tuning it, beside DPO on their preferences."""
