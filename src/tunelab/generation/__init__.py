"""Generation: prompts in, outputs out, one sample at a time accounted for."""
