"""`moa serve`: other agents get counsel by changing their base URL."""
