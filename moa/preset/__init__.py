"""Presets: their schema and checks, where they are kept, what they are built from, and who they name."""
