"""Limits as Redis decides them, in one go each: the same as in ``buckets``.

Times are whole microseconds by Redis' own clock, so that processes need not agree on one; ``ARGV[1]`` goes in
its place unless it is empty. Numbers are written with ``%.0f``: Lua would round those of 16 digits.
https://redis.io/docs/latest/develop/programmability/eval-intro/
"""

from __future__ import annotations

from servicekit.key_value.limits import ONCE_SECONDS

KEEP_SECONDS = 60
"""A bucket is kept longer than it takes to fill: a clock that is set back a little opens no bucket."""

_BEGIN = f"""
local KEEP, ONCE = {KEEP_SECONDS * 1000}, {ONCE_SECONDS * 1000:.0f}
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end
local function full_at(key)
  return tonumber(redis.call('GET', key) or 0)
end
local function put(key, full)
  redis.call('SET', key, string.format('%.0f', full), 'PX', KEEP + math.ceil(math.max(0, full - now) / 1000))
end
"""

TAKE = (
    _BEGIN
    + """
local patience, once = tonumber(ARGV[2]), ARGV[3]
local known = once ~= '' and redis.call('GET', KEYS[1])
if known then return tonumber(known) end
local full, at = {}, now
for i = 2, #KEYS do
  local cost, room = tonumber(ARGV[2 * i]), tonumber(ARGV[2 * i + 1])
  full[i] = full_at(KEYS[i])
  at = math.max(at, full[i] + cost - room)
end
if at - now <= patience then
  for i = 2, #KEYS do
    put(KEYS[i], math.max(full[i], at) + tonumber(ARGV[2 * i]))
  end
end
if once ~= '' then redis.call('SET', KEYS[1], string.format('%.0f', at - now), 'PX', ONCE) end
return at - now
"""
)
"""KEYS: for what, buckets. ARGV: now, patience, for what (empty: the first key is not used), and of each
bucket cost and room. Gives the wait."""

HOLD = (
    _BEGIN
    + """
put(KEYS[1], math.max(full_at(KEYS[1]), now + ARGV[2]))
"""
)
"""KEYS: bucket. ARGV: now, how much later it is full at least."""

COUNT = """
local before = tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or 0)
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
local sum = redis.call('HINCRBY', KEYS[1], '', ARGV[2] - before)
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return sum
"""
"""KEYS: sum, a hash of what was added by item; the sum itself under an empty name. ARGV: item, amount, ms."""

COUNTED = "return tonumber(redis.call('HGET', KEYS[1], '') or 0)"
FORGET = "return redis.call('DEL', unpack(KEYS))"
