"""One turn: the main model's calls, its tools, the hooks around them, and how it ends."""
