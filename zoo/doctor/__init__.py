"""Is everything in order? Facts for a bug report, and what is wrong with a plugin."""
