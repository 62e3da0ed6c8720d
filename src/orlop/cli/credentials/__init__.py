"""Who the user is to a registry: kept in ``config.json`` or by a credential helper, sent to the daemon in a header."""
