"""How messages go out: the port that the rest of the service knows, and the Bot API behind it."""
