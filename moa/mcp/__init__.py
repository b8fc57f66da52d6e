"""The panel as an MCP server: its tools, its tasks, and how it is started."""
