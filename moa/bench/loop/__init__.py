"""Arms that run the agent's own loop on a task: a folder of files, a request, and a command that says whether it is done."""
