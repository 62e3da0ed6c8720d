"""Benchmarks: Orlop beside a dockerd in the same run, and beside the bare kernel. ``make bench`` runs them all."""
