"""The `moa` command: options, subcommands, standard streams. The only package that knows both the plugin and the faces."""
