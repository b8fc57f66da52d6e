"""Files, with nothing that the user did not allow: deny paths, the project, protected and secret ones, instructions, writing whole or not at all."""
