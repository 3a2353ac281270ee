"""Data: where rows come from, which of them are used, and whether training has seen the test."""
