-- Where a room's order is, and who is in it; begins a new order when there is none that can be trusted:
-- none at all, one that is behind what the node has seen, or one that another server process began.
-- KEYS: order (also the channel's name), roster.
-- ARGV: 1 the node's epoch, or empty; 2 its position; 3 a fresh epoch; 4 the server's name for this
--   life of it; 5 life in ms; then field and value of each of the node's members.
-- Answers: epoch, position, last number, roster.
local now = redis.call('HMGET', KEYS[1], 'e', 's', 'r')
local epoch, p, n = now[1], 0, 0
if epoch then p, n = struct.unpack('>I8I8', now[2]) end
local behind = epoch == ARGV[1] and p < tonumber(ARGV[2])
if not epoch or behind or now[3] ~= ARGV[4] then
  epoch, p, n = ARGV[3], 0, 0
  local start = struct.pack('>I8I8', p, n)
  redis.call('DEL', KEYS[1], KEYS[2])
  redis.call('HSET', KEYS[1], 'e', epoch, 's', start, 'r', ARGV[4])
  for i = 6, #ARGV, 2 do redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1]) end
  redis.call('SPUBLISH', KEYS[1], epoch .. start)
elseif redis.call('HLEN', KEYS[1]) > 512 then
  -- Counters of nodes that are long gone; a node that needs its own is told of a gap.
  for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
    if #field > 1 then redis.call('HDEL', KEYS[1], field) end
  end
end
redis.call('PEXPIRE', KEYS[1], ARGV[5])
redis.call('PEXPIRE', KEYS[2], ARGV[5])
return { epoch, string.format('%.0f', p), string.format('%.0f', n), redis.call('HGETALL', KEYS[2]) }
