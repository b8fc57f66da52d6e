"""`moa acp`."""
