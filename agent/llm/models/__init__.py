"""What is known of endpoints and models: the catalogue, prices, families, quirks known and learned."""
