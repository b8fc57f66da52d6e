"""From the members' answers to one analysis: the methods, the aggregator's call, what it returns."""
