"""The agent's tools, one file each; `builtin` lists them, `base` says what a tool is."""
