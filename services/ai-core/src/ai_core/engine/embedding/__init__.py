"""What an engine process does for an embedding model: the host's counterpart without generation."""
