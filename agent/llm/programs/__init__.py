"""Programs as models (dialect `command`): `known` has what is known of the usual ones, `run` starts and ends one, `answers` reads what it prints."""
