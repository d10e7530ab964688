"""``make dns``: what has to stand in the DNS for an installation, and whether it does."""
