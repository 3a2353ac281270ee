"""Judges: what decides about an output that no rule can score. Asked by the step ``judge``, never by a scorer."""
