"""Evidence on the user's own work: turns beside turns, conversations done again, and what all of it advises."""
