"""What a user can ask of the engine as a whole: one module per use case."""
