"""How much each key may use: requests and tokens per minute, tokens per day, requests at once.

``ledger`` is the port to what was used lately: in this process (``memory_ledger``) or in a Redis that
replicas share (``redis_ledger``). ``limiter`` asks it on behalf of callers, and goes on without it when
it is away.

Why not the library ``limits``: its moving window keeps one entry per unit, which is one per *token*
here; it gives nothing back, where tokens are reserved before an answer and settled after it; it has
no leases, by which a replica that died lets go of its places; it takes each replica's own clock; and it
needs a second round trip for what the headers say. Its fixed windows let twice the limit through around a
border, and its sliding counters estimate, where replicas have to agree within two parts in a hundred. One
script per question does all of it, atomically.
"""
