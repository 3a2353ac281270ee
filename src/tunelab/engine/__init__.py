"""The engine: runs a graph of steps once each, survives anything. Knows no model, no dataset, no torch."""
