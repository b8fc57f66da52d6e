"""What this program starts and how it ends itself: children, commands and their output, jobs, what a dead run left, deadlines."""
