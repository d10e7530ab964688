"""What the bot says and does, decided by pure functions of what is known and what came in."""
