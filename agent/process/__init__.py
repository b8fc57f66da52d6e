"""What this program starts and how it ends itself: children and their output, what a dead run left, deadlines."""
