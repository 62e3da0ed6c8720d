"""What a user can ask of volumes: one module per use case."""
