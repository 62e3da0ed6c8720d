"""What a user can ask of containers: one module per use case."""
