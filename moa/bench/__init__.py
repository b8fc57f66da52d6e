"""Evidence: whether counsel helps, what it costs, and whether a placebo would have done the same."""
