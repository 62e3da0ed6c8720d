"""The Dockerfile language: text in, a tree out; pure."""

from orlop.build.dockerfile.sexpression import dump

__all__ = ["dump"]
