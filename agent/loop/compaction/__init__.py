"""Freeing context: what is summarized (plan), by whom (summary), and how it joins the session (compact)."""
