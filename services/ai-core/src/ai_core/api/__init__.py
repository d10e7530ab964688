"""The HTTP edge: requests, callers and status codes. Knows no engine and no model file.

``application`` puts routes, error handlers and middleware together; ``server`` listens. The routes
of one style share a file (``native_routes``, ``openai_routes``, ``operations_routes``), what they
take and give stands in the ``…_requests`` and ``…_answers`` beside them.
"""
