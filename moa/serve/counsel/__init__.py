"""Counsel for a served request: whether it is taken (`standing`, `side_calls`), taking it (`panels`), and how the request goes on
(`visit`)."""
