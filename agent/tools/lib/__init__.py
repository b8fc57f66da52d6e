"""What the tools share: files and listings, search, diffs, commands and their jobs, the check of a model's arguments."""
