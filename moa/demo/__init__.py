"""`moa demo`: the chat on a recorded conversation, offline. What the models said is in recording.jsonl; everything else is the program itself."""
