"""The web: `search_tool` and `fetch_tool` for models, `search` over the engines, `download` and `extract` for pages, `addresses` for what may be reached, `sources` for what is shown of it."""
