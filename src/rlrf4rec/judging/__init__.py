"""What rewards are worth: rewards of texts in, how far they can be trusted out; and rewards of a policy's new texts."""
