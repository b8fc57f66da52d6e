"""Inspect (inspect-ai, extra `bench`): our models and our agent in its tasks (`registry`), its tasks as suites (`tasks`), our runs as its logs (`export`)."""
