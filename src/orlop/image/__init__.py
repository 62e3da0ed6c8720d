"""Images: content-addressed blobs, layers, snapshots, references, manifests and archives."""
