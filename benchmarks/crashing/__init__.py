"""What `crash.py` does to commands of the zoo."""
