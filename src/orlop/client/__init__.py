"""The client of the Engine API: what is asked is a `Call` (pure data), `Engine` and `AsyncEngine` carry calls out."""
