"""orlopd: flags and configuration, listening sockets, locks and signals around one engine and its API."""
