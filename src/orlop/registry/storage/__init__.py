"""Where a registry keeps its blobs, manifests, tags and unfinished uploads."""
