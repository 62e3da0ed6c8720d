"""What a user can ask of images: one module per use case."""
