"""The user's settings: config.toml and how it is read and edited, keys, trust in projects, what was disclosed, and the first set-up."""
