"""Names of what steps write and much else reads, without what writes it: the comparison imports the statistics."""

COMPARISON = "comparison.json"
