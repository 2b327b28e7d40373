-- Takes one call from every limit, or none from any.
-- KEYS: for each limit its counter, its log and its queue.
-- ARGV: a name for this call, then for each limit: requests, window in seconds,
--   window of the log in ms (0: the counter alone), calls to record beforehand.
-- Returns {0, 0, end of each counter's window...} when taken; else
--   {index of the limit that bound, ms until this caller's turn}.
-- A command costs some 2 us here, so each is left out where it can be.
local call, tonumber, KEYS, ARGV = redis.call, tonumber, KEYS, ARGV
local n = #KEYS / 3

local now
local function clock()
  if not now then
    local t = call('TIME')
    now = t[1] * 1000 + math.floor(t[2] / 1000)
  end
  return now
end

-- When the counter's window ends.
local function window(counter, seconds)
  local at = call('PEXPIRETIME', counter)
  if at < 0 then -- without expiry it would never open again
    call('PEXPIRE', counter, 1000 * seconds)
    at = call('PEXPIRETIME', counter)
  end
  return at
end

-- What was granted while Redis was away comes first.
local counters = {}
for i = 1, n do
  local counter, log, seconds, win, owed = KEYS[3 * i - 2], KEYS[3 * i - 1], ARGV[4 * i - 1], tonumber(ARGV[4 * i]), ARGV[4 * i + 1]
  counters[i] = counter
  if owed ~= '0' then
    call('INCRBY', counter, owed)
    window(counter, seconds)
    if win > 0 then
      for k = 1, tonumber(owed) do call('ZADD', log, clock(), ARGV[1] .. ':owed' .. k) end
      call('PEXPIRE', log, win)
    end
  end
end

local counted = call('MGET', unpack(counters))
for i = 1, n do
  local counter, log, queue = KEYS[3 * i - 2], KEYS[3 * i - 1], KEYS[3 * i]
  local most, seconds, win = tonumber(ARGV[4 * i - 2]), ARGV[4 * i - 1], tonumber(ARGV[4 * i])
  local opens, each
  if tonumber(counted[i] or 0) >= most then
    opens = window(counter, seconds) - clock()
    each = function(k) return opens + 1000 * seconds * math.floor((k - 1) / most) end
  end
  if win > 0 then
    local now = clock()
    -- A call from the future was counted before the clock went back: it counts
    -- for one more window.
    for _, m in ipairs(call('ZRANGEBYSCORE', log, '(' .. now, '+inf')) do
      call('ZADD', log, 'XX', now, m)
    end
    call('ZREMRANGEBYSCORE', log, '-inf', now - win)
    local used = call('ZCARD', log)
    if used >= most and not opens then
      each = function(k)
        local at = used - most + k - 1
        local turn = math.floor(at / used)
        local e = call('ZRANGE', log, at % used, at % used, 'WITHSCORES')
        return tonumber(e[2]) + win * (1 + turn) - now
      end
      opens = each(1)
    end
  end
  if opens then
    -- Each that is refused is told another turn, so that they come back at the
    -- rate of the limit and not all at once. Only a hint: nothing is held.
    local k = call('INCR', queue)
    if k == 1 then call('PEXPIRE', queue, math.max(opens, 1)) end
    return {i, math.max(math.ceil(each(k)), 1)}
  end
end

local out = {0, 0}
for i = 1, n do
  local counter, log, win = KEYS[3 * i - 2], KEYS[3 * i - 1], tonumber(ARGV[4 * i])
  call('INCR', counter)
  out[i + 2] = window(counter, ARGV[4 * i - 1])
  if win > 0 then
    call('ZADD', log, clock(), ARGV[1])
    call('PEXPIRE', log, win)
  end
end
return out
