"""Builds: a Dockerfile becomes a graph of operations, of which only those are carried out that nobody has done yet."""
