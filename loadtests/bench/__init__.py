"""``make bench``: how close the engine is to the bound, and how far ahead of its peers."""
