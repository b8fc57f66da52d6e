"""Other people's programs from npm, against servers of ours on the loopback interface (`.ci/run --all`)."""
