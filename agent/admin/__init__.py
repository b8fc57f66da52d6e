"""What the subcommands answer from outside of a conversation: `moa doctor`, `moa models`, `moa session`."""
