"""What tests stand on: real daemons, network namespaces, and a search for what they leave behind."""
