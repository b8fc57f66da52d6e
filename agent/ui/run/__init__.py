"""`moa run`: one turn from the command line, as text, one JSON object or a stream of JSON lines; questions, signals, the result."""
