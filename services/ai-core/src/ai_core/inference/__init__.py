"""One request, from its arrival to its last token. Knows callers by their words only: no HTTP here."""
