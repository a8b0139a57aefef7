"""Measuring models: every number comes with its protocol, its n and its seed."""
