"""One served request in a process of its own, with the real panel and the real ledger: so that a test can kill it.

    python -m tests.support.served_child < {"wire": …, "body": …}

Folders and keys come from the environment, as the program has them; the panel is the preset `panel`, the main model `fake:main`. It prints
`{"said": …, "sent": BODY, "items": [what a client keeps of the answer]}`.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

import httpx

from agent.build import build
from agent.host import Options
from agent.llm.accounting import CallContext
from agent.llm.request import ModelRef
from moa.counsel.take import Council
from moa.serve.counsel.panels import Panels
from moa.serve.counsel.served import Asked, Serving
from moa.serve.counsel.taking import take
from moa.store.store import load
from tests.support.served import PATHS, items_of_answer


async def serve(wire: str, body: dict[str, Any]) -> dict[str, Any]:
    """The answer to one request."""
    host = build(Options(model="fake:main"), env=os.environ)
    try:
        client, ledger = host.agent.client, host.agent.ledger
        panels = Panels(lambda preset: Council(preset, client))
        main = ModelRef("fake", "main")
        endpoint = client.require_key("fake")
        preset = load("panel", config_dir=host.config.paths.config)
        serving = Serving(ledger, panels, redact=host.config.redact)
        served = serving.read(Asked(wire=wire, body=body, key="k1", main=main, endpoint=endpoint, preset=preset))
        await take(served, CallContext("main", run="r"), lambda _event: None)
        sent = served.body()
        async with httpx.AsyncClient() as http:
            url = endpoint.base_url.removesuffix("/v1") + PATHS[wire]
            answer = await http.post(url, json=sent, headers={"x-api-key": endpoint.api_key or ""})
        answer.raise_for_status()
        served.answer.whole(answer.json())
        await served.ended("done")
        await panels.close()
        return {"said": served.said, "sent": sent, "items": items_of_answer(wire, answer.json())}
    finally:
        await host.aclose()


if __name__ == "__main__":
    asked = json.loads(sys.stdin.read())
    print(json.dumps(asyncio.run(serve(asked["wire"], asked["body"]))))
