"""Faces. They read events and render views; nothing imports them but the command line."""
