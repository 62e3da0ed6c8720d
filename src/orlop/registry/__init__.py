"""Registries (distribution-spec): `client` talks to them, `server` is one, whose blobs `storage` keeps."""
