"""What may run without asking: modes, rules, and the question to the user."""
