"""Engine API bodies, named as in the API reference; Python names in snake case, JSON names as Docker writes them."""
