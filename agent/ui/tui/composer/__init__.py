"""Where the user writes: the text field, its completion, its history, and what is sent."""
