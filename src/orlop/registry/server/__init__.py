"""A registry server: the OCI Distribution Specification 1.1 over a storage."""
