"""Speech to text. There is one port and, so far, one implementation: a remote server."""
