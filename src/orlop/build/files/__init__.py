"""Files in builds: contexts, what is copied from where, and the layers that become of it."""
