"""People rate what models drew: a page to rate on, and the table of its answers."""

LEVEL = 0.95
"""Of every interval."""
