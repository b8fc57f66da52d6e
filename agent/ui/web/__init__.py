"""The chat in a browser: the same program through textual-serve, on this machine alone. `moa web`, with the extra `web`."""
