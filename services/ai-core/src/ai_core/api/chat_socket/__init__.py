"""Chats over a WebSocket: requests and answers of ``POST /api/v1/chat``, several on one connection.

``frames`` knows what messages look like, ``turn`` is one request under way, ``connection`` holds those
of one client together, ``route`` lets clients in.
"""
