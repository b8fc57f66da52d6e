"""A run on several machines: batches of items as Ray's tasks (`driver`, `worker`), what they came to on storage that all can see (`store`)."""
