"""Fusion's wire, and the server tools that vendors keep to themselves, executed by the user's own panel.

`parameters` reads what a client may say, `panel` makes a preset of it, `results` and `events` say what came of it in Fusion's shapes,
`tools` are the server tools, `lower` takes them out of a body (and brings earlier calls back), `loop` runs them between the client and the model.
"""
