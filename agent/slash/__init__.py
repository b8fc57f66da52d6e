"""The slash commands of the host, one file a family, and the user's own."""
