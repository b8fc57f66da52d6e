"""What the subcommands answer from outside of a conversation (`moa doctor`, `moa models`, `moa session`, `moa mcp`), and the first set-up."""
