"""The statistics of paired comparisons: exact tests, score intervals, the bootstrap, and what stays valid at every look."""
