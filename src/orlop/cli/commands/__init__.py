"""The commands, a module for each group of things that are done alike."""
