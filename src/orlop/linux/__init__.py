"""The one seam to the kernel: thin, typed functions over system calls; no policy."""
