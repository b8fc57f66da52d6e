"""The work beside the main model: the panel while it works, and the inspector."""
