"""What the OpenAPI file says beside types: words and examples for every field, and what comes back.

``request_fields`` and ``answer_fields`` have the words, ``routes`` what each route does, the ``…_shapes`` its
answers; ``document`` puts all of it together. Nothing here takes part in answering: tests compare it with
what is really sent.
"""
