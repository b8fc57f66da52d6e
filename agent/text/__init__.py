"""Text that somebody else wrote, made safe to read, keep and show: foreign JSON, cleaning, masking, numbers."""
