"""Codecs and value types that everyone uses: bytes in, values out, no I/O, standard library only."""
