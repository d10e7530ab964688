"""Who really sent a letter: what the receiving server found, and what its signatures say to us."""
