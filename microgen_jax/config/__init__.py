"""The configuration: its fields, the command line, and a run's `config.json`."""
