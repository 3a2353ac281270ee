"""Models: what a name in a study means, loading, devices, and the bundled tiny model."""
