"""A conversation that stays open, for every face: its events, its questions, what the user has agreed to, their own shell commands and lines for AGENTS.md."""
