"""Conversations that stay on the server: a caller sends what is new, and a name for the rest."""
