"""Builds: what the engine does for `orlop.build`, and what users ask of builds and their cache."""
