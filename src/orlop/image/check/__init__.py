"""Checking the store: is everything there that records name, and is it what it was when it came in?

`blobs` hashes, `layers` unpacks a layer once more from its blob and compares the two trees, `records` looks whether
all that an image names is there, `strays` finds what nobody names. What is found wrong is a `Problem`. All of it runs
in the calling thread and changes nothing; `orlop.engine.system.check` joins them and mends.
"""
