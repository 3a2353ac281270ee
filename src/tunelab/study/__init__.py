"""Studies: the file, its cells, and the plan that carries them out. Here the domain meets the engine."""
