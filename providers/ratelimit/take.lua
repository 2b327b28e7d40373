for i, key in ipairs(KEYS) do
  local n = tonumber(redis.call('GET', key) or '0')
  if n >= tonumber(ARGV[2 * i - 1]) then
    local left = redis.call('PTTL', key)
    -- A counter without expiry would never open again: give it its window.
    if left < 0 then
      left = 1000 * tonumber(ARGV[2 * i])
      redis.call('PEXPIRE', key, left)
    end
    return {i, left}
  end
end
for i, key in ipairs(KEYS) do
  redis.call('INCR', key)
  if redis.call('PTTL', key) < 0 then
    redis.call('PEXPIRE', key, 1000 * tonumber(ARGV[2 * i]))
  end
end
return {0, 0}
