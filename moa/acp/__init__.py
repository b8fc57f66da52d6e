"""`moa acp`: the chat inside editors, over the Agent Client Protocol v1. `serve` starts it, `agent` answers the editor, `updates` translates events."""
