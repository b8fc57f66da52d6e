"""One turn: the main model's calls, its tools, how full the window is, compaction, and how it ends."""
