"""RLRF4Rec: reinforcement learning from recommender feedback, as a data-versioned pipeline."""
