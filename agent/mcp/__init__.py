"""Foreign MCP servers: their life, and their tools as tools of the agent. The SDK is imported when the first server starts."""
