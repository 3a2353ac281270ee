"""The engine: causal models read packed tokens, and share the keys of what their prompts have in common."""
