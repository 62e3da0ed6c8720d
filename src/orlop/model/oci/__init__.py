"""OCI documents, and those of Docker's schema 2 that came before them: manifests and indexes."""
