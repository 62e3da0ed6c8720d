"""cgroup v2: one controller a module, each with a pure ``plan``; those that count also with ``usage``."""
