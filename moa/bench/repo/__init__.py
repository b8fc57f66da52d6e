"""The suite `repo`: small repositories, each with a failing test, for the agent's own loop. `python -m moa.bench.repo FOLDER` writes them."""
