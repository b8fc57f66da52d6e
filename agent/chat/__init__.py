"""A conversation that stays open, for every face: its events, its questions, the user's own shell commands, what goes out."""
