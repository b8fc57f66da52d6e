"""A small model on this machine: fetching it, serving it, and finding servers that already run."""
