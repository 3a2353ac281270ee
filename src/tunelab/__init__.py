"""tunelab: controlled fine-tuning experiments on language models."""
