"""The ledger's decisions as Redis makes them, in one go each: the same as in ``memory_ledger``.

Times are whole milliseconds since 1970 by Redis' own clock, so that replicas need not agree on one;
``ARGV[1]`` goes in its place unless it is empty. The keys of one API key:

====  =================================================================================
hits  sorted set: requests of the last minute by time
at    sorted set: reservations of tokens of the last minute by time
sums  hash: their tokens, and all together in ``total``
ends  sorted set: leases by when they lapse
held  hash: their tokens, and all together in ``total``
====  =================================================================================

https://redis.io/docs/latest/develop/programmability/eval-intro/
"""

from __future__ import annotations

from ai_core.access.limits.ledger import LEASE_SECONDS, WINDOW_SECONDS, Kind

_BEGIN = f"""
local WINDOW, LEASE = {WINDOW_SECONDS * 1000:.0f}, {LEASE_SECONDS * 1000:.0f}
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end

local function oldest_leaves_in(times)
  local oldest = redis.call('ZRANGE', times, 0, 0, 'WITHSCORES')[2]
  return oldest and oldest + WINDOW - now or 0
end

local function forget(times, tokens, before)
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', times, '-inf', before)) do
    redis.call('HINCRBY', tokens, 'total', 0 - (redis.call('HGET', tokens, id) or 0))
    redis.call('HDEL', tokens, id)
    redis.call('ZREM', times, id)
  end
end

local function total(tokens)
  return tonumber(redis.call('HGET', tokens, 'total') or 0)
end

local function put(times, tokens, id, at, amount, keep)
  if redis.call('ZADD', times, at, id) == 1 then
    redis.call('HSET', tokens, id, amount)
    redis.call('HINCRBY', tokens, 'total', amount)
  end
  redis.call('PEXPIRE', times, keep)
  redis.call('PEXPIRE', tokens, keep)
end
"""

HIT = (
    _BEGIN
    + """
local hits, id, limit = KEYS[1], ARGV[2], tonumber(ARGV[3])
redis.call('ZREMRANGEBYSCORE', hits, '-inf', now - WINDOW)
local used, retry = redis.call('ZCARD', hits), 0
if used < limit then
  redis.call('ZADD', hits, now, id)
  redis.call('PEXPIRE', hits, WINDOW)
  used = used + 1
else
  retry = redis.call('ZRANGE', hits, used - limit, used - limit, 'WITHSCORES')[2] + WINDOW - now
end
return {used, oldest_leaves_in(hits), retry}
"""
)
"""KEYS: hits. ARGV: now, id, limit. Gives what is used, and the ms to ``reset`` and ``retry``."""

RESERVE = (
    _BEGIN
    + f"""
local at, sums, ends, held = unpack(KEYS)
local id, tokens, used_today = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local per_minute, per_day, at_once = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
forget(at, sums, now - WINDOW)
forget(ends, held, now)

local function freed_in(amount)
  local freed, first, time = 0, 0, now
  repeat
    local batch = redis.call('ZRANGE', at, first, first + 99, 'WITHSCORES')
    for i = 1, #batch, 2 do
      freed, time = freed + redis.call('HGET', sums, batch[i]), batch[i + 1]
      if freed >= amount then break end
    end
    first = first + 100
  until freed >= amount or #batch == 0
  return time + WINDOW - now
end

local refused, retry = '', 0
local over = per_minute and total(sums) + tokens - per_minute or 0
if over > 0 then refused, retry = '{Kind.TOKENS_PER_MINUTE}', freed_in(over) end
if per_day and used_today + total(held) + tokens > per_day then refused = '{Kind.TOKENS_PER_DAY}' end
if at_once and redis.call('ZCARD', ends) >= at_once then refused = '{Kind.CONCURRENT_REQUESTS}' end
if refused == '' then
  put(ends, held, id, now + LEASE, tokens, LEASE)
  if per_minute then put(at, sums, id, now, tokens, WINDOW) end
end
return {{refused, total(sums), oldest_leaves_in(at), retry}}
"""
)
"""KEYS: at, sums, ends, held. ARGV: now, id, tokens, used today; and per minute, per day, at once, empty
where there is no limit. Gives the limit in the way or nothing; then of this minute's tokens as HIT."""

SETTLE = (
    _BEGIN
    + """
local at, sums, ends, held = unpack(KEYS)
local id, tokens = ARGV[2], ARGV[3]
if redis.call('ZREM', ends, id) == 1 then
  redis.call('HINCRBY', held, 'total', 0 - (redis.call('HGET', held, id) or 0))
  redis.call('HDEL', held, id)
end
local reserved = redis.call('HGET', sums, id)
if reserved then
  redis.call('HINCRBY', sums, 'total', tokens - reserved)
  redis.call('HSET', sums, id, tokens)
end
"""
)
"""KEYS: as for RESERVE. ARGV: now, id, tokens."""

RENEW = (
    _BEGIN
    + """
local ends, held = unpack(KEYS)
forget(ends, held, now)
put(ends, held, ARGV[2], now + LEASE, ARGV[3], LEASE)
"""
)
"""KEYS: ends, held. ARGV: now, id, tokens."""
