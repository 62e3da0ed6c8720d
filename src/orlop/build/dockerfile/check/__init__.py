"""Checks: what a Dockerfile says and hardly means, as `docker build --check` warns of it."""

from orlop.build.dockerfile.check.checker import check

__all__ = ["check"]
