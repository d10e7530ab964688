"""What Redis does in one go, in its own language: https://redis.io/docs/latest/develop/programmability/"""

from __future__ import annotations

GET = "return redis.call('GET', KEYS[1])"
SET = "redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])"
"""ARGV: value, ms."""

DELETE = "return redis.call('DEL', KEYS[1])"

SWAP = """
local found = redis.call('GET', KEYS[1])
if ARGV[1] == 'nothing' then
  if found then return 0 end
elseif found ~= ARGV[2] then
  return 0
end
if ARGV[3] == 'nothing' then
  redis.call('DEL', KEYS[1])
else
  redis.call('SET', KEYS[1], ARGV[4], 'PX', ARGV[5])
end
return 1
"""
"""KEYS: key. ARGV: is something expected, the expected value, is there a value, the value, its ms."""

_NOW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""
_PRUNE = """
local gone = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, 1000)
if #gone > 0 then
  redis.call('ZREM', KEYS[1], unpack(gone))
  redis.call('HDEL', KEYS[2], unpack(gone))
end
"""
"""A thousand at most: one script must not hold up everybody else."""

INDEX_PUT = (
    _NOW
    + _PRUNE
    + """
redis.call('ZADD', KEYS[1], now + ARGV[3], ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
local left = math.max(redis.call('PTTL', KEYS[1]), tonumber(ARGV[3]))
redis.call('PEXPIRE', KEYS[1], left)
redis.call('PEXPIRE', KEYS[2], left)
"""
)
"""KEYS: members by when they end (ms since 1970), their values. ARGV: member, value, ms."""

INDEX_REMOVE = """
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('HDEL', KEYS[2], ARGV[1])
"""
"""KEYS: as above. ARGV: member."""

INDEX_LIST = (
    _NOW
    + _PRUNE
    + """
local members = redis.call('ZREVRANGEBYSCORE', KEYS[1], '+inf', '(' .. now, 'LIMIT', 0, ARGV[1])
if #members == 0 then return {{}, {}} end
return {members, redis.call('HMGET', KEYS[2], unpack(members))}
"""
)
"""KEYS: as above. ARGV: how many. Gives the members, and their values in the same order."""
