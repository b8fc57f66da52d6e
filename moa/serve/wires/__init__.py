"""Requests that come in on one wire and go out on another: each wire's reading, its answers and its errors, through our own types."""
