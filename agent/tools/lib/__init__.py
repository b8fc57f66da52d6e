"""What the tools share: files and listings, search, diffs, the check of a model's arguments."""
