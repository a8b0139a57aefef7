"""Blocks and discriminators that several papers share."""
