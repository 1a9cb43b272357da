"""The run file: all settings of a run, in TOML."""
