"""The conversation on disk: the tree of entries, its file, what was sent, and what is made of it (index, export, snapshots)."""
