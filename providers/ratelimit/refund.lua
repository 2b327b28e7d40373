-- Gives one call back to every limit. KEYS and ARGV are those of take.lua,
-- except that ARGV holds after the name only the end of each counter's window.
-- A window that is over has nothing to give back to.
for i = 1, #KEYS / 3 do
  local counter, log = KEYS[3 * i - 2], KEYS[3 * i - 1]
  local logged = redis.call('ZREM', log, ARGV[1])
  if redis.call('PEXPIRETIME', counter) == tonumber(ARGV[i + 1]) and tonumber(redis.call('GET', counter) or '0') > 0 then
    redis.call('DECR', counter)
  end
end
return 0
