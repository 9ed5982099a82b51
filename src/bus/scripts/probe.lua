-- Renews a node's lease and sends it a sign of life through the path of publishing.
-- KEYS: lease (also the channel's name). ARGV: 1 the sign, 2 life in ms.
-- Answers: 1 if the lease was there, else 0.
local before = redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2], 'GET')
redis.call('SPUBLISH', KEYS[1], ARGV[1])
return before and 1 or 0
