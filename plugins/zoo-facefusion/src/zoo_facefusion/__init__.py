"""Fusion of several people's faces, a plugin of the zoo."""
