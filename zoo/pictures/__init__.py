"""Pictures and videos: read, written, brought to size, drawn together and in tiles."""
