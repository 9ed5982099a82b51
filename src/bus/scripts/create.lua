-- Makes a record unless there is one.
-- KEYS: record. ARGV: 1 value, 2 life in ms.
-- Answers: value, version, time left in ms, whether it is the new one.
local now = redis.call('HMGET', KEYS[1], 'v', 'k')
if now[1] then return { now[1], now[2], redis.call('PTTL', KEYS[1]), 0 } end
local time = redis.call('TIME')
local version = string.format('%.0f', time[1] * 1000000 + time[2])
redis.call('HSET', KEYS[1], 'v', ARGV[1], 'k', version)
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return { ARGV[1], version, redis.call('PTTL', KEYS[1]), 1 }
