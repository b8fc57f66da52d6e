"""The user's settings: config.toml and how it is read and edited, keys, servers, domains, trust in projects."""
