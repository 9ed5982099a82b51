-- Gives a batch its place in a room's order and tells it to everybody, or says why not.
-- KEYS: order (also the channel's name), roster.
-- ARGV: 1 epoch, or empty for any; 2 the node's field; 3 its counter; 4 how many numbers; 5 envelope;
--   and if the roster changes: 6 life in ms; 7 most members; 8 how many joins; field and value of each;
--   then the fields of those who leave.
-- Answers: the position, 0 when there is nobody to tell, -1 another epoch, -2 done before, -3 absent,
--   -4 full.
-- The position and the last number are packed, as they are published: numbers in text cost more.
local now = redis.call('HMGET', KEYS[1], 'e', 's', ARGV[2])
local epoch, argc, last = now[1], #ARGV, 8
if argc > 5 then last = 8 + 2 * tonumber(ARGV[8]) end
if not epoch then
  if ARGV[1] ~= '' then return -1 end
  if argc > last then return -3 end
  return 0
end
if ARGV[1] ~= '' and ARGV[1] ~= epoch then return -1 end
if now[3] and tonumber(now[3]) >= tonumber(ARGV[3]) then return -2 end
if argc > 5 then
  local come, more = {}, last - argc
  for i = 9, last, 2 do
    come[ARGV[i]] = true
    more = more + 1 - redis.call('HEXISTS', KEYS[2], ARGV[i])
  end
  for i = last + 1, argc do
    if not come[ARGV[i]] and redis.call('HEXISTS', KEYS[2], ARGV[i]) == 0 then return -3 end
  end
  if last > 8 and more > 0 and redis.call('HLEN', KEYS[2]) + more > tonumber(ARGV[7]) then
    return -4
  end
  for i = 9, last, 2 do redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1]) end
  for i = last + 1, argc do redis.call('HDEL', KEYS[2], ARGV[i]) end
  if last > 8 then redis.call('PEXPIRE', KEYS[2], ARGV[6]) end
end
local p, n = struct.unpack('>I8I8', now[2])
p = p + 1
redis.call('HSET', KEYS[1], 's', struct.pack('>I8I8', p, n + ARGV[4]), ARGV[2], ARGV[3])
redis.call('SPUBLISH', KEYS[1], epoch .. struct.pack('>I8I8', p, n) .. ARGV[5])
return p
