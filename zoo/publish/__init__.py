"""Packed weights to the Hub, and where they are into their card."""
