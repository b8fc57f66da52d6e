"""What the main model reads: the system text and what changes in it, and skills."""
