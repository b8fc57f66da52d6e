"""An answer that holds to a JSON schema of the user's (`moa run --output-schema`): asked for in the prompt, checked here, asked for again.

The tools and the requests are what they are without: an endpoint's own way to hold a model to a schema would forbid it to call a tool, or
change what was sent.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.errors import UsageError
from agent.events import ErrorInfo
from agent.files.own_files import read_bytes
from agent.llm.messages import user
from agent.plugin import Continue, Ending, Plugin
from agent.process.patience import OutOfPatience, at_most
from agent.text import foreign_json

if TYPE_CHECKING:
    from agent.events import Emit
    from agent.llm.accounting import CallContext
    from agent.plugin import TurnState

LARGEST = 1_000_000
"""Bytes of a schema that are read."""
CHECK_S = 2.0
TRIES = 2
"""So often an answer that does not hold is asked for again."""
ASK = """\
Your last message must be one JSON value that holds to this JSON schema, and nothing else: no words around it, no code fence.
{schema}"""
AGAIN = "That is no answer yet: {problem}. Answer once more with the JSON value alone; it has to hold to the schema that I gave."
_FENCED = re.compile(r"```(?:json)?\s*\n(.*?)\n\s*```", re.DOTALL)


class AnswerSchema(Plugin):
    """Checks the answers of a run. Raises UsageError for a schema that is none."""

    name = "output-schema"

    def __init__(self, schema: Any) -> None:
        from jsonschema.exceptions import SchemaError
        from jsonschema.validators import validator_for
        from referencing import Registry

        self._schema = schema
        kind = validator_for(schema)
        try:
            kind.check_schema(schema)
        except SchemaError as error:
            where = "/".join(str(step) for step in error.absolute_path) or "its top"
            raise UsageError(f"the output schema is no JSON schema, at {where}: {error.message}"[:400]) from None
        # With a registry of its own nothing that a $ref names is fetched from anywhere.
        self._validator = kind(schema, registry=Registry())
        self.read("null")
        self._asked = 0
        self._turn = ""

    @classmethod
    def load(cls, path: Path) -> AnswerSchema:
        """From a file. Raises UsageError."""
        try:
            schema = foreign_json.loads(read_bytes(path, LARGEST))
        except OSError as error:
            raise UsageError(f"--output-schema {path} can't be read: {error.strerror}") from None
        except (ValueError, RecursionError) as error:
            raise UsageError(f"--output-schema {path} is no JSON: {error}") from None
        if not isinstance(schema, Mapping | bool):
            raise UsageError(f"--output-schema {path} is no JSON schema", remedy='an object like {"type": "object", …}')
        return cls(schema)

    @property
    def ask(self) -> str:
        """What goes behind the prompt."""
        return ASK.format(schema=json.dumps(self._schema, ensure_ascii=False))

    def read(self, text: str) -> tuple[str | None, str]:
        """The JSON of an answer, or what is wrong with it. Raises UsageError for a schema that can't be applied."""
        from referencing.exceptions import Unresolvable

        candidates = [text.strip(), *(found.strip() for found in reversed(_FENCED.findall(text)))]
        problem = "it was empty"
        for candidate in filter(None, candidates):
            try:
                value = foreign_json.loads(candidate)
            except (ValueError, RecursionError) as error:
                problem = f"it is not JSON ({error})"[:200]
                continue
            try:
                with at_most(CHECK_S):
                    errors = sorted(
                        self._validator.iter_errors(value), key=lambda error: list(map(str, error.absolute_path))
                    )
            except OutOfPatience as error:
                problem = f"it can't be checked, {error}: a pattern of the schema fits it in too many ways"
                continue
            except Unresolvable as error:
                raise UsageError(f"the output schema names what it does not contain: {error}") from None
            except RecursionError:
                raise UsageError("the output schema goes round in a circle") from None
            if not errors:
                return json.dumps(value, ensure_ascii=False), ""
            problem = "; ".join(_told(error) for error in errors[:5])
        return None, problem

    async def before_stop(self, turn: TurnState, context: CallContext, emit: Emit) -> Continue | None:
        """An answer that does not hold is held back, and asked for again."""
        if turn.turn != self._turn:
            self._turn, self._asked = turn.turn, 0
        found, problem = self.read(turn.reply.text if turn.reply is not None else "")
        if found is not None or self._asked >= TRIES:
            return None
        self._asked += 1
        message = user(AGAIN.format(problem=problem), synthetic="continuation")
        return Continue(message=message, supersede=True, reason="the answer does not hold to the output schema")

    async def next_turn(
        self, turn: TurnState, ending: Ending, context: CallContext, emit: Emit
    ) -> Continue | Ending | None:
        """A turn whose answer does not hold after all has failed."""
        if ending.status != "done" or turn.reply is None:
            return None
        found, problem = self.read(turn.reply.text)
        if found is not None:
            return None
        told = f"the answer does not hold to the output schema: {problem}"
        return Ending(
            "failed", ErrorInfo(kind="schema_mismatch", message=told, remedy="a larger model, or a simpler schema")
        )


def _told(error: Any) -> str:
    where = "/".join(str(step) for step in error.absolute_path) or "the value"
    return f"{where}: {error.message}"[:200]
