"""The chat, in Textual."""
