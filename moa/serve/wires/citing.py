"""Sources of an answer, in the words of each wire."""

from __future__ import annotations

from typing import Any

from agent.llm.stream import Citation


def url_citation(cited: Citation) -> dict[str, Any]:
    """As OpenAI's wires have it; OpenRouter adds the quote as `content`."""
    quote = {"content": cited.quote} if cited.quote else {}
    places = {"start_index": cited.start or 0, "end_index": cited.end or 0}
    return {"url": cited.url, "title": cited.title, **places, **quote}


def search_result_location(cited: Citation) -> dict[str, Any]:
    """As the Messages API has it. Its index is sealed by the vendor, and only the vendor can read it."""
    return {
        "type": "web_search_result_location",
        "url": cited.url,
        "title": cited.title,
        "cited_text": cited.quote,
        "encrypted_index": "",
    }
