"""What becomes of a letter: pure functions of the letter, of what is known, and of the house's rules."""
