"""A web page for the models that are installed, or for one of one's own: pictures in, pictures out, nothing to type."""
