"""What servers say when they refuse: envelopes, words, named errors, and what a request is changed to for it."""
