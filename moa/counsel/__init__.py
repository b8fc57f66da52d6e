"""One counsel from beginning to end: when it is taken (cadence), taking it (take), what of it is delivered, kept and shown."""
