"""What the main model reads: the system text and what changes in it, skills, how full the window is, compaction."""
