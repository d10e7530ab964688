"""Models stored for one engine, made readable by another: converted once, kept on disk."""
