"""What it does in one line."""
