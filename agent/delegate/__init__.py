"""A bounded task for a sub-agent: the tool, and the loop in small behind it."""
