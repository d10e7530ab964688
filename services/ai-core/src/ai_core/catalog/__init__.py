"""Which models exist, by which names, and where their files are."""
