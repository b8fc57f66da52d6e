"""The host: one agent, its loop, its tools, its faces. It knows no plugin by name."""

DISTRIBUTION = "moa-agent"
"""Who ships this package. Others ship one of the same name, and the last one that was installed wins: `moa.cli.ownership` looks for this."""
