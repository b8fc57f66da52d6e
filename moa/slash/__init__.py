"""What `/moa` and `/preset` do: `counsel` has the verbs of /moa, `presets` those of /preset, `building` makes a panel from what is here."""
