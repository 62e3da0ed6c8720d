"""The use cases: everything that the API can ask. The only place where the parts meet."""
