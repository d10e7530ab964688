"""From a mail that came in to an answer that went out: each exactly once, whatever happens between."""
