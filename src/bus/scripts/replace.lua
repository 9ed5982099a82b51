-- Replaces a record that has not changed.
-- KEYS: record. ARGV: 1 the version that it has, 2 value, 3 life in ms, or empty.
-- Answers: 1, or 0 if there is another version or none.
local version = redis.call('HGET', KEYS[1], 'k')
if version ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'v', ARGV[2], 'k', string.format('%.0f', version + 1))
if ARGV[3] ~= '' then redis.call('PEXPIRE', KEYS[1], ARGV[3]) end
return 1
