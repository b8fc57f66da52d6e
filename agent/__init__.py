"""The host: one agent, its loop, its tools, its faces. It knows no plugin by name."""
