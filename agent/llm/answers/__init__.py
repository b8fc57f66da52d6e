"""Reading what models answer, in any wire format: pieces of text and tool calls, thinking, ends, usage, JSON."""
