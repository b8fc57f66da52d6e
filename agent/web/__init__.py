"""The web tools: `search` over the engines, `download` and `extract` for pages, `domains` and `addresses` for what may be reached, `sources` for what is shown of it."""
