"""Formats: how a conversation becomes tokens, once, for training, evaluation and preview alike."""
