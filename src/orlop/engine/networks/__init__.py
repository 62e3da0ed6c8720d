"""The networks of an engine: the predefined ones, `bridge`, `host` and `none`."""
