#!lua name=nextpanel_@VERSION@
-- Function library of the hot store. The head of each function gives its KEYS, ARGV and answer; the typed callers are
-- writer.py, reader.py, bulk_load.py, comparison.py and the validator's store.
--
-- functions.py fills in the @places@. VERSION is a hash of this text, so that two releases never share a function:
-- during a roll-out each calls its own, and a process that finds its own missing knows that the server is not ready.
--
-- Instants here are milliseconds of the server's clock, the only clock that all validators share.

local PREFIX = 'np_@VERSION@_'
local RESOURCES = {@RESOURCES@}
local UNLIMITED = @UNLIMITED@
local HELD = {@HELD@}  -- fields of the holds hash with the sums
local TOTALS = {@TOTALS@}  -- fields of the usage hash: each resource and its stamp, sorted by name
local DOCUMENT, USAGE, LEASE = '@DOCUMENT@', '@USAGE@', '@LEASE@'  -- prefixes of keys
local HOLDS, HOLD_ENDS, MARK = '@HOLDS@', '@HOLD_ENDS@', '@MARK@'
local TOMBSTONE = 0x80  -- an empty map, which is in the place of a tombstone's limits
local MARGIN = @MARGIN@  -- ms, as all durations; core/hotstore/keys.py says what each is for
local LONGEST_DOUBT = @LONGEST_DOUBT@
local REPLAYABLE = @REPLAYABLE@
local RUN_ID_LENGTH = @RUN_ID_LENGTH@

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function newer(epoch, version, old_epoch, old_version)
  return epoch > old_epoch or (epoch == old_epoch and version > old_version)
end

-- The first `n` fields of a packed record: epoch and version, then a license's limits; a lease has five in all
-- (core/hotstore/codec.py).
local function beginning(packed, n)
  return select(2, cmsgpack.unpack_limit(packed, n, 1))
end

-- A hold is stored as "count:resource", followed by "!" once it is pinned.
local function hold_parts(stored)
  local count, resource, pinned = string.match(stored, '^(%d+):([^!]+)(!?)$')
  return tonumber(count), resource, pinned == '!'
end

-- Expires both keys when their last hold can no longer be in doubt, so that an unused license leaves nothing behind.
-- A pinned hold has no end.
local function end_with_last_hold(holds, ends)
  local last = redis.call('ZRANGE', ends, -1, -1, 'WITHSCORES')[2]
  if last == 'inf' then
    redis.call('PERSIST', holds)
    redis.call('PERSIST', ends)
  elseif last then
    redis.call('PEXPIREAT', holds, last + LONGEST_DOUBT)
    redis.call('PEXPIREAT', ends, last + LONGEST_DOUBT)
  else
    redis.call('DEL', holds)
  end
end

-- The name of a pin in its bucket's set: a holds key ends with the license's hash.
local function pin_name(holds, id)
  return string.match(holds, '[^:]+$') .. ':' .. id
end

-- An id is used for one hold only: it stays among the ended ids while the request that made it can be replayed. The key
-- expires with the latest of them.
local function keep_as_ended(ended, id)
  redis.call('ZADD', ended, now_ms(), id)
  redis.call('PEXPIRE', ended, REPLAYABLE)
end

-- Ends one hold. `pins` may be nil where the hold is known not to be pinned.
local function drop_hold(holds, ends, ended, pins, id)
  local stored = redis.call('HGET', holds, id)
  if pins then redis.call('ZREM', pins, pin_name(holds, id)) end
  if not stored then return false end
  keep_as_ended(ended, id)
  local count, resource = hold_parts(stored)
  redis.call('HDEL', holds, id)
  redis.call('HINCRBY', holds, '=' .. resource, -count)
  redis.call('ZREM', ends, id)
  return true
end

-- Garbage collection of holds that ran out. Such a hold may still have been reported, without a pin, by a report whose
-- total has not arrived yet. So it is released once everything committed up to its end has been projected: by then its
-- settlement has arrived, or there is none. Until then it is in doubt, and counts. Where there is no limit it is released
-- at once.
-- Answer: how many of `resource` are in doubt
local function collect(holds, ends, ended, limits, resource, now, proven)
  local ran_out = redis.call('ZRANGEBYSCORE', ends, '-inf', now, 'WITHSCORES')
  local doubted, dropped = 0, false
  for i = 1, #ran_out, 2 do
    local count, held = hold_parts(redis.call('HGET', holds, ran_out[i]))
    if tonumber(ran_out[i + 1]) <= proven or limits[held] == UNLIMITED then
      dropped = drop_hold(holds, ends, ended, nil, ran_out[i])
    elseif held == resource then
      doubted = doubted + count
    end
  end
  if dropped then end_with_last_hold(holds, ends) end
  return doubted
end

-- Sums of the live holds in the order of RESOURCES, each a number as text or nil, and for how many ms the first of them
-- lasts, or false; nothing where there are no holds. O(1); O(expired) where holds ran out since the last grant.
local function live_holds(holds, ends)
  if redis.call('EXISTS', holds) == 0 then return end
  local held = redis.call('HMGET', holds, unpack(HELD))
  local now = now_ms()
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', ends, '-inf', now)) do
    local count, resource = hold_parts(redis.call('HGET', holds, id))
    for i, name in ipairs(RESOURCES) do
      if name == resource then held[i] = tostring(held[i] - count) end
    end
  end
  local first = redis.call('ZRANGEBYSCORE', ends, '(' .. now, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)[2]
  return held, first and first ~= 'inf' and first - now or false
end

-- read: everything that one verdict needs, at one instant.
-- KEYS document, usage, holds, hold ends, mark
-- Answer {document or nil, loaded incarnation or nil, {used …}, {held …} or nil, ms until a hold ends or nil};
-- used and held are in the order of RESOURCES, each a number as text, or nil for 0.
local function read(keys)
  local held, lasts = live_holds(keys[3], keys[4])
  return {
    redis.call('GET', keys[1]), redis.call('HGET', keys[5], 'loaded'), redis.call('HMGET', keys[2], unpack(RESOURCES)),
    held or false, lasts or false,  -- a nil would end the answer here
  }
end

local packed_names  -- of the resources; made at the first call, for a library has no functions while it is loaded

-- A map of resource → number as msgpack, from values in the order of RESOURCES; it has only those that are there.
local function packed_counts(values)
  if not packed_names then
    packed_names = {}
    for i, name in ipairs(RESOURCES) do packed_names[i] = cmsgpack.pack(name) end
  end
  local packed, there = '', 0
  for i = 1, #RESOURCES do
    local value = values[i]
    if value then
      packed = packed .. packed_names[i] .. cmsgpack.pack(tonumber(value))
      there = there + 1
    end
  end
  return string.char(0x80 + there) .. packed
end

-- A snapshot of one license as msgpack: an array of document or nil, used, held, and the ms until a hold ends or nil. The
-- document is put into it as it is stored.
local function snapshot(place)
  local document = redis.call('GET', DOCUMENT .. place) or '\192'
  local used = packed_counts(redis.call('HMGET', USAGE .. place, unpack(RESOURCES)))
  local held, lasts = live_holds(HOLDS .. place, HOLD_ENDS .. place)
  if not held then return '\148' .. document .. used .. '\128\192' end
  return '\148' .. document .. used .. packed_counts(held) .. cmsgpack.pack(lasts or nil)
end

-- read_many: what `read` tells, of many licenses. What cannot be read of one is an error in its place only.
-- KEYS none on a single server, which has all buckets; on a node of a Cluster those of `read` for each license, all of
-- one bucket. ARGV the licenses' hashes.
-- Answer {loaded incarnation or nil, snapshot, …}, two for each license.
local function read_many(_, hashes)
  local answer, marks = {}, {}
  for i, h in ipairs(hashes) do
    local tag = ':{' .. string.sub(h, 1, 2) .. '}'
    if marks[tag] == nil then marks[tag] = redis.call('HGET', MARK .. tag, 'loaded') end
    local fine, found = pcall(snapshot, tag .. ':' .. h)
    answer[2 * i - 1] = marks[tag]
    answer[2 * i] = fine and found or redis.error_reply(tostring(type(found) == 'table' and found.err or found))
  end
  return answer
end

-- read_key: an API key, and the mark that says whether its absence is conclusive.
-- KEYS key, mark
-- Answer {packed key or nil, loaded incarnation or nil}
local function read_key(keys)
  return {redis.call('GET', keys[1]), redis.call('HGET', keys[2], 'loaded')}
end

-- The stamp that records are compared by: "epoch:version". "-" where there is none, a tombstone, or one that is older than
-- every row; "?" where it cannot be read.
local function stamp_of(packed)
  if not packed then return '-' end
  if type(packed) ~= 'string' then return '?' end  -- the error of a GET on a key of another type
  local fine, offset, epoch, version = pcall(cmsgpack.unpack_limit, packed, 2, 1)
  if not fine or type(epoch) ~= 'number' or type(version) ~= 'number' then return '?' end
  if version == 0 or string.byte(packed, offset + 1) == TOMBSTONE then return '-' end
  return string.format('%d:%d', epoch, version)
end

-- The index of a bucket names its records, so that reconciliation finds those that should not exist.
local function keep_in_index(index, key, packed)
  local name = string.sub(key, 10)
  if stamp_of(packed) == '-' then redis.call('ZREM', index, name) else redis.call('ZADD', index, 0, name) end
end

-- Whether a packed record replaces the stored one; `order` as in `apply`.
local function replaces(packed, old, order)
  local fields = order == '>=' and 5 or 2
  local old_epoch, old_version, _, _, old_signed_at = beginning(old, fields)
  local epoch, version, _, _, signed_at = beginning(packed, fields)
  return newer(epoch, version, old_epoch, old_version)
    or (signed_at and epoch == old_epoch and version == old_version and signed_at >= old_signed_at)
end

-- apply: writes packed records that are newer than the stored ones.
-- KEYS for '>' the index; then any number of keys of one bucket; ARGV '>' or '>=', then one record for each of them. '>='
-- is for leases: one version has several leases, and the one that was signed last wins.
-- Answer: how many were written
local function apply(keys, args)
  local written, before = 0, args[1] == '>' and 1 or 0
  for i = before + 1, #keys do
    local key, packed = keys[i], args[i - before + 1]
    local old = redis.call('GET', key)
    local fits = not old or replaces(packed, old, args[1])
    if fits then
      redis.call('SET', key, packed)
      written = written + 1
    end
    if before == 1 then keep_in_index(keys[1], key, fits and packed or old) end
  end
  return written
end

-- Whether a total of this age replaces the stored one; an unreadable stamp is replaced.
local function is_newer_total(key, resource, epoch, version)
  local old_epoch, old_version = string.match(redis.call('HGET', key, resource .. ':v') or '', '^(-?%d+):(%d+)$')
  return not old_epoch or newer(tonumber(epoch), tonumber(version), tonumber(old_epoch), tonumber(old_version))
end

-- usage: writes absolute totals and ends the holds whose reports they contain, so that nothing counts twice.
-- KEYS the bucket's pins and ended ids, then usage, holds, hold ends for each total; ARGV for each total: resource, used,
-- epoch, version, how many holds it settles, their ids
-- Answer: how many totals were newer and written. The holds end in any case, for they were reported. Ids without a hold
-- are kept as ended, too: a reserve that is replayed after its report holds nothing.
local function usage(keys, args)
  local pins, ended, written, at = keys[1], keys[2], 0, 1
  for k = 3, #keys, 3 do
    local resource, epoch, version, settled = args[at], args[at + 2], args[at + 3], args[at + 4]
    for i = at + 5, at + 4 + settled do
      if not drop_hold(keys[k + 1], keys[k + 2], ended, pins, args[i]) then keep_as_ended(ended, args[i]) end
    end
    if settled ~= '0' then end_with_last_hold(keys[k + 1], keys[k + 2]) end
    if is_newer_total(keys[k], resource, epoch, version) then
      redis.call('HSET', keys[k], resource, args[at + 1], resource .. ':v', epoch .. ':' .. version)
      written = written + 1
    end
    at = at + 5 + settled
  end
  return written
end

-- reserve: holds `count` of a resource if so many are left. Whether the license may hold anything is not decided here:
-- the caller has checked a document and gives its age; where another one is stored now, the answer is "changed", and the
-- caller checks again.
-- KEYS document, usage, holds, hold ends, mark, the bucket's ended ids; ARGV resource, count, ttl ms, id, epoch, version,
-- run id, synced through (ms; as the caller read it last, however long ago; 0: never)
-- Answer {"granted", remaining after it}, {"exceeded", remaining}, {"changed"}, {"conflict"}, {"not_granted"},
-- {"ended"}: the hold of this id has ended, {"not_ready", ms to wait or 0}, {"behind"}: it depends on changes that are
-- not projected yet; remaining is -1 for unlimited.
local function reserve(keys, args)
  local document, used_key, holds, ends, mark, ended = unpack(keys)
  local resource, count, ttl, id = args[1], tonumber(args[2]), tonumber(args[3]), args[4]
  -- Is the store complete, in the reign that the caller means, and are lost reservations over?
  local loaded, from = unpack(redis.call('HMGET', mark, 'loaded', 'reserve_from'))
  if not loaded or string.sub(loaded, 1, #args[7]) ~= args[7] then return {'not_ready', 0} end
  local now, proven = now_ms(), args[8] - MARGIN
  redis.call('ZREMRANGEBYSCORE', ended, '-inf', now - REPLAYABLE)
  if from and now < tonumber(from) then return {'not_ready', from - now} end
  -- Holds may have been lost, or expired with their keys: their reports must have been projected.
  if proven < math.max(from or 0, now - LONGEST_DOUBT) then return {'behind'} end
  -- Is the document still the one that the caller has checked?
  local packed = redis.call('GET', document)
  if not packed then return {'changed'} end
  local epoch, version, limits = beginning(packed, 3)
  if epoch ~= tonumber(args[5]) or version ~= tonumber(args[6]) then return {'changed'} end
  local limit = limits[resource]
  if not limit then return {'not_granted'} end
  local doubted = collect(holds, ends, ended, limits, resource, now, proven)
  if redis.call('ZSCORE', ended, id) then return {'ended'} end
  local used = math.max(0, tonumber(redis.call('HGET', used_key, resource) or 0))
  local held = tonumber(redis.call('HGET', holds, '=' .. resource) or 0)
  local remaining = limit - used - held
  -- A replay finds the hold that it made.
  local before = redis.call('HGET', holds, id)
  if before then
    local old_count, old_resource, pinned = hold_parts(before)
    if not pinned and tonumber(redis.call('ZSCORE', ends, id)) <= now then return {'ended'} end
    if old_count ~= count or old_resource ~= resource then return {'conflict'} end
    return {'granted', limit == UNLIMITED and -1 or math.max(0, remaining)}
  end
  if limit ~= UNLIMITED and remaining < count then
    if remaining + doubted >= count then return {'behind'} end
    return {'exceeded', math.max(0, remaining + doubted)}
  end
  redis.call('HSETNX', holds, id, args[2] .. ':' .. resource)  -- nothing else calls it: workers/projection/hold_watch.py counts
  redis.call('HINCRBY', holds, '=' .. resource, count)
  redis.call('ZADD', ends, now + ttl, id)
  end_with_last_hold(holds, ends)
  return {'granted', limit == UNLIMITED and -1 or remaining - count}
end

-- pin: keeps a hold, without an end, while its report is being recorded. Its settlement ends it, or the sweeper, where
-- the report came to nothing. A second pin counts from now. A hold that ran out and is still stored can be pinned, too:
-- every grant since then has counted it.
-- KEYS holds, hold ends, the bucket's pins; ARGV id, resource
-- Answer "pinned", "gone", or "other": it holds another resource
local function pin(keys, args)
  local holds, ends, pins = unpack(keys)
  local stored = redis.call('HGET', holds, args[1])
  if not stored then return 'gone' end
  local count, resource = hold_parts(stored)
  if resource ~= args[2] then return 'other' end
  redis.call('HSET', holds, args[1], count .. ':' .. resource .. '!')
  redis.call('ZADD', ends, '+inf', args[1])
  redis.call('ZADD', pins, now_ms(), pin_name(holds, args[1]))
  end_with_last_hold(holds, ends)
  return 'pinned'
end

-- pinned: pins that are older than they should be.
-- KEYS the bucket's pins; ARGV ms that a report may take, how many at most
-- Answer {"h:id" …}
local function pinned(keys, args)
  return redis.call('ZRANGEBYSCORE', keys[1], '-inf', now_ms() - args[1], 'LIMIT', 0, args[2])
end

-- settle: ends holds, pinned or not, whose totals arrived in another way, or whose reports came to nothing.
-- KEYS holds, hold ends, the bucket's pins and ended ids; ARGV ids …
-- Answer: how many there were
local function settle(keys, args)
  local holds, ends, pins, ended = unpack(keys)
  local stood = 0
  for _, id in ipairs(args) do
    if drop_hold(holds, ends, ended, pins, id) then stood = stood + 1 end
  end
  if stood > 0 then end_with_last_hold(holds, ends) end
  return stood
end

-- release: the panel gives a hold back. A pinned hold stays: its report is on its way.
-- KEYS holds, hold ends, the bucket's ended ids; ARGV id
-- Answer "released", "pinned" or "gone"
local function release(keys, args)
  local stored = redis.call('HGET', keys[1], args[1])
  if not stored then return 'gone' end
  local _, _, is_pinned = hold_parts(stored)
  if is_pinned then return 'pinned' end
  drop_hold(keys[1], keys[2], keys[3], nil, args[1])
  end_with_last_hold(keys[1], keys[2])
  return 'released'
end

-- begin: names the incarnation that is being built; the loaded one stays in force until the new one is loaded.
-- KEYS mark; ARGV incarnation, ms for which nothing may be reserved
local function begin(keys, args)
  redis.call('HSET', keys[1], 'building', args[1])
  if tonumber(args[2]) > 0 then redis.call('HSET', keys[1], 'reserve_from', now_ms() + tonumber(args[2])) end
  return 1
end

-- loaded: compare-and-set of the mark, so that a FLUSHALL in the midst of a rebuild cannot end as "loaded".
-- KEYS mark; ARGV incarnation
-- Answer 1, or 0 where another incarnation or none is being built
local function loaded(keys, args)
  if redis.call('HGET', keys[1], 'building') ~= args[1] then return 0 end
  redis.call('HSET', keys[1], 'loaded', args[1])
  redis.call('HDEL', keys[1], 'building')
  return 1
end

-- Stores a packed record where there is none, an older one, or something else; answers what is stored now. The store is
-- usually empty here, and SET NX is one step where GET and SET are two.
local function fill_record(key, packed, order)
  if redis.call('SET', key, packed, 'NX') then return packed end
  local old = redis.pcall('GET', key)
  local readable, older = pcall(replaces, packed, old, order)
  if readable and not older then return old end
  redis.call('SET', key, packed)
  return packed
end

local function fill_totals(key, args, first, last)
  if last < first then return end
  local stand = redis.pcall('HLEN', key)
  if type(stand) ~= 'number' then  -- another type
    redis.call('DEL', key)
    stand = 0
  end
  if stand == 0 then
    redis.call('HSET', key, unpack(args, first, last))
    return
  end
  for at = first, last, 4 do
    local epoch, version = string.match(args[at + 3], '^(%d+):(%d+)$')
    if is_newer_total(key, args[at], epoch, version) then redis.call('HSET', key, unpack(args, at, at + 3)) end
  end
end

-- fill: bulk load of one bucket: licenses with leases and totals, by the rules of `apply` and `usage`. A caller whose
-- incarnation is no longer being built is told before anything is written.
-- KEYS index, mark; ARGV incarnation, then for each license: its name, its document (no tombstone), its lease or '', how
-- many values its totals take, and these: resource, used, 'resource:v', 'epoch:version' for each
-- Answer 1, or 0 where another incarnation or none is being built
local function fill(keys, args)
  if redis.call('HGET', keys[2], 'building') ~= args[1] then return 0 end
  local tag, at, names = string.sub(keys[1], 4) .. ':', 2, {}
  while at < #args do
    local name, document, lease, last = args[at], args[at + 1], args[at + 2], at + 3 + args[at + 3]
    local key = DOCUMENT .. tag .. name
    local standing = fill_record(key, document, '>')
    if standing == document then
      names[#names + 1] = '0'
      names[#names + 1] = name
    else
      keep_in_index(keys[1], key, standing)
    end
    if lease ~= '' then fill_record(LEASE .. tag .. name, lease, '>=') end
    fill_totals(USAGE .. tag .. name, args, at + 4, last)
    at = last + 1
  end
  if #names > 0 then redis.call('ZADD', keys[1], unpack(names)) end
  return 1
end

-- The server's reign, named as in core/hotstore/server_facts.py.
local function reign()
  local info = redis.call('INFO', 'server', 'replication')
  local run_id, replaced = string.match(info, 'run_id:(%x+)'), string.match(info, 'master_replid2:(%x+)') or ''
  if string.find(replaced, '[^0]') then return string.sub(redis.sha1hex(run_id .. ':' .. replaced), 1, RUN_ID_LENGTH) end
  return string.sub(run_id, 1, RUN_ID_LENGTH)
end

-- synced: everything committed before this instant has been projected. Never goes back within an epoch. A server in
-- another reign than those in which the caller found all data refuses: its data may be old.
-- KEYS sync; ARGV epoch, ms since 1970, reigns with commas between them, or '' for any
-- Answer 1 where it was written
local function synced(keys, args)
  if args[3] ~= '' and not string.find(args[3], reign(), 1, true) then return 0 end
  local epoch, through = unpack(redis.call('HMGET', keys[1], 'epoch', 'synced_through'))
  if epoch and not newer(tonumber(args[1]), tonumber(args[2]), tonumber(epoch), tonumber(through)) then return 0 end
  redis.call('HSET', keys[1], 'epoch', args[1], 'synced_through', args[2])
  return 1
end

-- Whether a packed lease belongs to the document with this stamp, and has a token.
local function is_lease_of(packed, stamp)
  if type(packed) ~= 'string' or stamp_of(packed) ~= stamp then return false end
  local fine, _, _, _, _, token = pcall(cmsgpack.unpack_limit, packed, 4, 1)
  return fine and type(token) == 'string' and token ~= ''
end

-- A line that reconciliation compares; Postgres writes the same (workers/reconciliation/screening.py).
local function line_of(name, document, totals, lease)
  local stamp = stamp_of(redis.pcall('GET', document))
  local line = name .. ' ' .. stamp
  if not totals then return line end
  local stored = redis.pcall('HMGET', totals, unpack(TOTALS))
  if stored.err then return line .. ' ?' end
  for i = 1, #TOTALS, 2 do
    local used, stands = stored[i], stored[i + 1]
    if used or stands then
      line = line .. ' ' .. TOTALS[i] .. '=' .. (used or '') .. '/' .. (stands or '')
    end
  end
  return is_lease_of(redis.pcall('GET', lease), stamp) and line .. ' lease' or line
end

-- digest: a hash of the records under a part of an index, sorted by name. Nothing is cached: every record is read.
-- KEYS index, mark; ARGV after which name, up to which one ("" to the end), how many at most, prefix of the documents,
-- prefix of their totals or "", "digest" or "lines"
-- Answer {loaded incarnation or nil, how many, SHA-1 of their lines in hex}; or the lines themselves in its place
local function digest(keys, args)
  local tag = string.sub(keys[1], 4) .. ':'
  local from = args[1] == '' and '-' or '(' .. args[1]
  local upto = args[2] == '' and '+' or '[' .. args[2]
  local lines = redis.call('ZRANGEBYLEX', keys[1], from, upto, 'LIMIT', 0, args[3])
  for i, name in ipairs(lines) do
    local place = tag .. name
    lines[i] = line_of(name, args[4] .. place, args[5] ~= '' and args[5] .. place, LEASE .. place)
  end
  local said = args[6] == 'lines' and lines or redis.sha1hex(table.concat(lines, '\n'))
  return {redis.call('HGET', keys[2], 'loaded'), #lines, said}
end

-- strays: documents and API keys that no index names, tombstones excepted. Scans all keys of the server.
-- No KEYS; ARGV cursor, about how many keys to scan, then prefix of the documents and prefix of their index, twice
-- Answer {cursor, {key …}}
local function strays(_, args)
  local index_of = {[args[3]] = args[4], [args[5]] = args[6]}
  local cursor, names = unpack(redis.call('SCAN', args[1], 'COUNT', args[2]))
  local found = {}
  for _, key in ipairs(names) do
    local index = index_of[string.sub(key, 1, 3)]
    if index then
      local held = redis.call('ZSCORE', index .. string.sub(key, 4, 8), string.sub(key, 10))
      if not held and stamp_of(redis.pcall('GET', key)) ~= '-' then found[#found + 1] = key end
    end
  end
  return {cursor, found}
end

-- A stored value, made comparable: "-" nothing, "?" another type, "=" and the value.
local function told(value)
  if not value then return '-' end
  return type(value) == 'string' and '=' .. value or '?'
end

local function told_totals(key)
  local stored, answer = redis.pcall('HMGET', key, unpack(TOTALS)), {}
  for i = 1, #TOTALS do answer[i] = stored.err and '?' or told(stored[i]) end
  return answer
end

-- standing: the stored records, totals and leases, byte by byte.
-- KEYS mark, then documents, or with 'totals' document, totals and lease in turn; ARGV 'totals' or ''
-- Answer {loaded incarnation or nil, {document, lease, used, stamp, used, stamp …} for each}, every value as `told`;
-- without 'totals' {document} for each
local function standing(keys, args)
  local answer, step = {redis.call('HGET', keys[1], 'loaded')}, args[1] == 'totals' and 3 or 1
  for i = 2, #keys, step do
    local one = {told(redis.pcall('GET', keys[i]))}
    if step == 3 then
      one[2] = told(redis.pcall('GET', keys[i + 2]))
      for _, value in ipairs(told_totals(keys[i + 1])) do one[#one + 1] = value end
    end
    answer[#answer + 1] = one
  end
  return answer
end

-- repair: compare and set: stores what Postgres says, if exactly what was seen is still there, in the same incarnation.
-- KEYS index, mark, document[, totals, lease]; ARGV incarnation, document seen, new document or "" to leave it, lease
-- seen, new lease or "" to leave it; then for each total: its place in TOTALS, used seen, stamp seen, new used and stamp,
-- or both "" for none
-- Answer "repaired", or "changed" where something else is there now; the index is right in either case
local function repair(keys, args)
  local document = redis.pcall('GET', keys[3])
  local same = redis.call('HGET', keys[2], 'loaded') == args[1] and told(document) == args[2]
  if keys[5] then same = same and told(redis.pcall('GET', keys[5])) == args[4] end
  local totals = keys[4] and told_totals(keys[4])
  for i = 6, #args, 5 do
    local at = tonumber(args[i])
    same = same and totals[at] == args[i + 1] and totals[at + 1] == args[i + 2]
  end
  if same and args[3] ~= '' then
    redis.call('SET', keys[3], args[3])
    document = args[3]
  end
  if same and args[5] ~= '' then redis.call('SET', keys[5], args[5]) end
  if same and totals and totals[1] == '?' and #args > 5 then redis.call('DEL', keys[4]) end
  for i = 6, same and #args or 0, 5 do
    local resource, stamp = TOTALS[tonumber(args[i])], TOTALS[args[i] + 1]
    if args[i + 4] == '' then
      redis.call('HDEL', keys[4], resource, stamp)
    else
      redis.call('HSET', keys[4], resource, args[i + 3], stamp, args[i + 4])
    end
  end
  keep_in_index(keys[1], keys[3], document)
  return same and 'repaired' or 'changed'
end

local function register(name, callback, flags)
  redis.register_function{function_name = PREFIX .. name, callback = callback, flags = flags or {}}
end

register('read', read, {'no-writes'})
register('read_many', read_many, {'no-writes'})
register('read_key', read_key, {'no-writes'})
register('apply', apply)
register('usage', usage)
register('reserve', reserve)
register('pin', pin)
register('pinned', pinned, {'no-writes'})
register('settle', settle)
register('release', release)
register('begin', begin)
register('loaded', loaded)
register('fill', fill)
register('synced', synced)
register('digest', digest, {'no-writes'})
register('strays', strays, {'no-writes', 'allow-cross-slot-keys'})
register('standing', standing, {'no-writes'})
register('repair', repair)
