#!lua name=nextpanel_access_@VERSION@
-- Functions of the access store: rate limits, and a cache of sessions that are believed to be live. These functions and
-- their keys are on the queue's server; the typed caller is store.py. VERSION is a hash of this text, as in functions.lua.

local PREFIX = 'np_@VERSION@_'

local function now_us()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end

-- Every generation begins with the run id of this server. After a restart or a failover the data may be a second older
-- than the last answers, so nothing that an earlier run knew of sessions is believed.
-- The id is that of this process, as this variable is, so it is asked for once: INFO costs ten times what a GET does.
local run_id

local function run()
  run_id = run_id or string.sub(string.match(redis.call('INFO', 'server'), 'run_id:(%x+)'), 1, 16)
  return run_id
end

-- KEYS: one for each limit that applies. ARGV, from `first` on: for each limit the microseconds that one request costs, and those of its
-- window. Answer: 1 where the request is allowed, else 0; then for each limit how many microseconds its caller is ahead of
-- now, this request included. A request that one limit refuses is counted by none.
local function take(keys, args, first)
  local now = now_us()
  local allowed = 1
  local ahead = {}
  local before = (first or 1) - 1
  for i, key in ipairs(keys) do
    local paid_at = math.max(tonumber(redis.call('GET', key) or now), now)
    ahead[i] = paid_at + tonumber(args[before + 2 * i - 1]) - now
    if ahead[i] > tonumber(args[before + 2 * i]) then
      allowed = 0
    end
  end
  if allowed == 1 then
    for i, key in ipairs(keys) do
      redis.call('SET', key, string.format('%.0f', now + ahead[i]), 'PX', math.ceil(ahead[i] / 1000))
    end
  end
  return {allowed, unpack(ahead)}
end

-- KEYS: session, generation. ARGV: for how many microseconds an entry is believed, for how many seconds it is kept after
-- its last use, the name of a new generation. Answer: the generation, the instant, and the role, which is empty where
-- Postgres has to be asked. With an empty generation nothing may be kept either.
local function look(keys, args)
  local generation = redis.call('GET', keys[2])
  if generation == '' then
    return {'', 0, ''}
  end
  local now = now_us()
  local this_run = run()
  if not generation or string.sub(generation, 1, #this_run) ~= this_run then
    generation = this_run .. args[3]
    redis.call('SET', keys[2], generation, 'EX', args[2])
    return {generation, now, ''}
  end
  redis.call('EXPIRE', keys[2], args[2])
  local entry = redis.call('GET', keys[1])
  local of, asked_at, role = string.match(entry or '', '^(%x+) (%d+) (%a+)$')
  if of ~= generation then
    return {generation, now, ''}
  end
  redis.call('EXPIRE', keys[1], args[2])
  local age = now - tonumber(asked_at)
  return {generation, now, (age >= 0 and age <= tonumber(args[1])) and role or ''}
end

-- What a request of a signed-in caller needs to know, at once. KEYS: session, generation, then one for each limit. ARGV:
-- as `look` has them, then as `take` has them. Answer: as `take` has it, then as `look`; a request that a limit refuses
-- looks at no session.
local function admit(keys, args)
  local limits = {unpack(keys, 3)}
  local answer = take(limits, args, 4)
  if answer[1] == 1 then
    for _, value in ipairs(look(keys, args)) do
      answer[#answer + 1] = value
    end
  end
  return answer
end

-- KEYS: session, generation. ARGV: the generation and the instant that `look` gave before Postgres was asked, the role
-- that Postgres answered, for how many seconds to keep it. Answer: 1 where it is kept, 0 where a fence came in between.
local function keep(keys, args)
  if redis.call('GET', keys[2]) ~= args[1] then
    return 0
  end
  redis.call('SET', keys[1], table.concat({args[1], args[2], args[3]}, ' '), 'EX', args[4])
  return 1
end

-- KEYS: generation. ARGV: seconds. From now on nothing that was known of this user's sessions is believed, and for so
-- many seconds nothing is kept either.
local function fence(keys, args)
  redis.call('SET', keys[1], '', 'EX', args[1])
  return 1
end

redis.register_function(PREFIX .. 'take', function(keys, args) return take(keys, args) end)
redis.register_function(PREFIX .. 'look', look)
redis.register_function(PREFIX .. 'admit', admit)
redis.register_function(PREFIX .. 'keep', keep)
redis.register_function(PREFIX .. 'fence', fence)
