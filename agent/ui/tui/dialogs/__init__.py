"""What takes the composer's place or the screen until it is answered or closed."""
