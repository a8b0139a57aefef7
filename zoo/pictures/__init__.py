"""Pictures and videos: read, written, brought to size, drawn in tiles."""
