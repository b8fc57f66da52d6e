"""`/plan`, a plugin: nothing is changed until the user has approved a plan. `plugin` has the hooks, `deciding` the question to the user."""
