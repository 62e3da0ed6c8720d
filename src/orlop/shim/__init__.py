"""The other process: launcher, shim, exec, stdio, log journal. Standard library, errors, formats and linux only."""
