"""`/review`: the panel reads a change, and each finding is looked up in the files. `changes` reads git, `findings` reads answers."""
