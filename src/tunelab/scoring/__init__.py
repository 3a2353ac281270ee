"""Scoring: answer extraction, metrics and outcomes. Knows text, not models."""
