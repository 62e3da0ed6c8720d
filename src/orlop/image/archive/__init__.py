"""Archives of images: what `docker save`, OCI layouts and older Dockers write, read in one pass."""
