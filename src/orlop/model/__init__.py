"""Typed data: Engine API bodies, OCI documents and the records that the store keeps. No behaviour, no I/O."""
