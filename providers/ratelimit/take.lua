-- Takes one call from every limit, or none from any.
-- KEYS: for each limit its counter, its log and its queue.
-- ARGV: a name for this call, then for each limit: requests, window in seconds,
--   window of the log in ms (0: the counter alone), calls to record beforehand.
-- Returns {0, 0, end of each counter's window...} when taken; else
--   {index of the limit that bound, ms until this caller's turn}.
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local n = #KEYS / 3

local function window(counter, seconds)
  local left = redis.call('PTTL', counter)
  if left < 0 then -- without expiry it would never open again
    left = 1000 * seconds
    redis.call('PEXPIRE', counter, left)
  end
  return left
end

-- What was granted while Redis was away comes first.
for i = 1, n do
  local seconds, win, owed = tonumber(ARGV[4 * i - 1]), tonumber(ARGV[4 * i]), tonumber(ARGV[4 * i + 1])
  if owed > 0 then
    redis.call('INCRBY', KEYS[3 * i - 2], owed)
    window(KEYS[3 * i - 2], seconds)
    if win > 0 then
      for k = 1, owed do redis.call('ZADD', KEYS[3 * i - 1], now, ARGV[1] .. ':owed' .. k) end
      redis.call('PEXPIRE', KEYS[3 * i - 1], win)
    end
  end
end

for i = 1, n do
  local counter, log, queue = KEYS[3 * i - 2], KEYS[3 * i - 1], KEYS[3 * i]
  local most, seconds, win = tonumber(ARGV[4 * i - 2]), tonumber(ARGV[4 * i - 1]), tonumber(ARGV[4 * i])
  local opens, each
  if tonumber(redis.call('GET', counter) or '0') >= most then
    opens = window(counter, seconds)
    each = function(k) return opens + 1000 * seconds * math.floor((k - 1) / most) end
  end
  if win > 0 then
    -- A call from the future was counted before the clock went back: it counts
    -- for one more window.
    for _, m in ipairs(redis.call('ZRANGEBYSCORE', log, '(' .. now, '+inf')) do
      redis.call('ZADD', log, 'XX', now, m)
    end
    redis.call('ZREMRANGEBYSCORE', log, '-inf', now - win)
    local used = redis.call('ZCARD', log)
    if used >= most and not opens then
      each = function(k)
        local at = used - most + k - 1
        local turn = math.floor(at / used)
        local e = redis.call('ZRANGE', log, at % used, at % used, 'WITHSCORES')
        return tonumber(e[2]) + win * (1 + turn) - now
      end
      opens = each(1)
    end
  end
  if opens then
    -- Each that is refused is told another turn, so that they come back at the
    -- rate of the limit and not all at once. Only a hint: nothing is held.
    local k = redis.call('INCR', queue)
    if k == 1 then redis.call('PEXPIRE', queue, math.max(opens, 1)) end
    return {i, math.max(math.ceil(each(k)), 1)}
  end
end

local out = {0, 0}
for i = 1, n do
  local counter, log = KEYS[3 * i - 2], KEYS[3 * i - 1]
  local seconds, win = tonumber(ARGV[4 * i - 1]), tonumber(ARGV[4 * i])
  redis.call('INCR', counter)
  window(counter, seconds)
  if win > 0 then
    redis.call('ZADD', log, now, ARGV[1])
    redis.call('PEXPIRE', log, win)
  end
  out[i + 2] = redis.call('PEXPIRETIME', counter)
end
return out
