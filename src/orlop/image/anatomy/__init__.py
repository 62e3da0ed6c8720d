"""The anatomy of images: what each layer adds, changes and removes, what that wastes, and how two images differ.

All is read from the layers' directories; nothing is mounted. What is remembered is the merged tree: a name and a
number for each file. Everything here runs in the calling thread and gives its results one by one.
"""
