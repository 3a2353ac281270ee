"""Tasks: a dataset, how a sample becomes a prompt and a target, and how an output is scored. One file each."""
