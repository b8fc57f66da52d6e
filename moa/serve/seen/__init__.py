"""What can be seen of a server from outside, and never what anybody wrote: figures for Prometheus (`metrics`), spans for OpenTelemetry
(`spans`), a line for each request (`log`). `seen` is told of requests and calls, and tells these."""
