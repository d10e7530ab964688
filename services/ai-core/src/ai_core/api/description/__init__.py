"""What the OpenAPI file says beside types: words and examples for every field, and what comes back.

``fields`` has the words, ``operations`` the routes, the ``…_shapes`` the answers. Nothing here takes part in
answering; tests compare it with what is really sent.
"""
