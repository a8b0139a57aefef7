"""What everybody needs and nobody reads about: files, YAML, interrupts."""
