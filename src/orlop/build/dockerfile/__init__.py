"""The Dockerfile language: text in, a tree out; pure."""
