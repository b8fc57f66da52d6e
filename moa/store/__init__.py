"""Presets as files: reading one and what must hold in it, where they are, and what there is at hand to make one from."""
