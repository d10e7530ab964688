"""Models that another server answers for, by OpenAI's API: the port `Engine` over HTTP.

What the server can do is known by what it calls itself (``dialect``); requests become bodies (``body``) and
its events become deltas (``events``, ``chunks``, ``logprobs``); what it refuses becomes our errors
(``refusals``). All of these are pure, as is the decision whether it is asked at all (``breaker``,
``retrying``). ``engine`` and ``exchange`` hold the connections.
"""
