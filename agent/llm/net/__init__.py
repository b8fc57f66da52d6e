"""One attempt over the network: connections, server-sent events, bounds, clocks, retries, the queue at an endpoint."""
