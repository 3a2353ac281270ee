"""Training: recipes, supervised rows, and the trainers that carry them out. Borrowed trainers, our rows."""
