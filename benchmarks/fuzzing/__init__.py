"""What `fuzz_pictures.py` makes, and what it asks of the zoo."""
