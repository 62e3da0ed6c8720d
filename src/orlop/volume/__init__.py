"""Volumes and the resolution of mounts."""
