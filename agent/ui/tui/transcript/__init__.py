"""The conversation on the screen: events become items (reducer, items), items become blocks (render) in widgets."""
