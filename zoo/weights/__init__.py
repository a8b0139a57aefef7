"""Weights files, and how they come to this disk."""
