"""Calling a model: messages, stream events, errors, endpoints, dialects, prices, and the one door."""
