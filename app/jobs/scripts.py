"""Shared. The steps of a job that must happen at once: Lua, which Redis runs without interruption.

Each begins with `prelude`, which says what a row is. The comments name the arguments after the id
and the time, `ARGV[3]` and so on.
"""

# block number, texts, custom ids ('' where there are none), seconds to live
APPEND = """
if get('status') ~= 'validating' then return 0 end
call('HSET', TEXTS, ARGV[3], ARGV[4])
if ARGV[5] ~= '' then call('HSET', IDS, ARGV[3], ARGV[5]) end
for at = 1, 3 do call('EXPIRE', KEYS[at], ARGV[6]) end
return 1
"""

# blocks, texts, whether it is listed (0 or 1), seconds after which none that is listed is left
SEAL = """
if get('status') ~= 'validating' or call('HLEN', TEXTS) ~= tonumber(ARGV[3]) then return 0 end
local run_s, ttl_s = number('max_run_s'), number('result_ttl_s')
call('HSET', J, 'status', 'in_progress', 'total', ARGV[4], 'submitted_at', ARGV[2],
  'deadline', now + run_s, 'expires_at', now + run_s + ttl_s)
total('accepted', ARGV[4])
if ARGV[5] == '1' then call('ZADD', JOBS, now, id) end
call('ZADD', ACTIVE, now, id)
call('ZREMRANGEBYSCORE', JOBS, '-inf', now - ARGV[6])
remember()
return 1
"""

# What a worker computes now may still be committed; all else is cancelled here.
CANCEL = """
if get('status') ~= 'in_progress' then return 0 end
local cancelled = number('total') - number('cursor')
for _, first in ipairs(call('HKEYS', CHUNKS)) do
  local r = row(first)
  if r.h == '' then
    cancelled = cancelled + r.c
    drop(first)
  end
end
count('cancelled', cancelled)
call('HSET', J, 'status', 'cancelling', 'cancelling_at', ARGV[2], 'cursor', number('total'))
finish_if_done()
return 1
"""

# status, failure
FAIL = """
local status = get('status')
if status ~= 'in_progress' and status ~= 'cancelling' then return 0 end
fail_rest(ARGV[3], ARGV[4])
return 1
"""

# first text, holder, seconds of lease, token: asked again with the same one, it is the same claim
CLAIM = """
local r = row(ARGV[3])
if not r then return false end
if r.h == '' then
  if get('status') ~= 'in_progress' then return false end
  r.a, r.h, r.m, r.w, r.t = r.a + 1, ARGV[4], -1, '', ARGV[6]
  put(ARGV[3], r)
  call('ZREM', READY, ARGV[3])
  call('HSETNX', J, 'started_at', ARGV[2])
elseif r.t ~= ARGV[6] then
  return false
end
call('ZADD', OUT, now + ARGV[5], ARGV[3])
keep()
return {r.c, r.a, get('spec')}
"""

# first text, holder, seconds of lease, text that is computed now
MARK = """
local r = row(ARGV[3])
if not r or r.h ~= ARGV[4] or ARGV[6] - ARGV[3] >= r.c then return 0 end
r.m = tonumber(ARGV[6])
put(ARGV[3], r)
call('ZADD', OUT, now + ARGV[5], ARGV[3])
return 1
"""

# first text, holder, texts that are kept: the others become a chunk of their own
SHORTEN = """
local r, kept = row(ARGV[3]), tonumber(ARGV[5])
if not r or r.h ~= ARGV[4] or kept > r.c then return 0 end
if kept == r.c then return 1 end
if get('status') == 'cancelling' then
  count('cancelled', r.c - kept)
else
  local first = string.format('%d', ARGV[3] + kept)
  put(first, {c = r.c - kept, a = r.a - 1, h = '', m = -1, s = now, w = ''})
  call('ZADD', READY, first, first)
end
r.c, r.m = kept, -1
put(ARGV[3], r)
keep()
return 1
"""

# first text, holder, seconds until it is sent again, why, seconds after which a refusal that none
# followed counts no more
RELEASE = """
local r = row(ARGV[3])
if not r or r.h ~= ARGV[4] then return 0 end
r.h, r.a = '', r.a - 1
put(ARGV[3], r)
call('ZADD', OUT, now + ARGV[5], ARGV[3])
local by = refused_lately(ARGV[7])
if not next(by) then call('HDEL', J, 'refused_at') end
call('HSETNX', J, 'refused_at', ARGV[2])
by[ARGV[4]] = now
call('HSET', J, 'refused', ARGV[6], 'refused_by', cjson.encode(by))
return 1
"""

# first text, holder, why
GIVE_UP = """
local r = row(ARGV[3])
if not r or r.h ~= ARGV[4] then return 0 end
r.w = ARGV[5]
put(ARGV[3], r)
call('ZADD', OUT, now, ARGV[3])
return 1
"""

# first text, texts, blob, succeeded, failed, texts/s; the first one wins
COMMIT = """
local status, r = get('status'), row(ARGV[3])
if status ~= 'in_progress' and status ~= 'cancelling' then return 'late' end
if not r or r.c ~= tonumber(ARGV[4]) then return 'late' end
call('HDEL', J, unpack(REFUSED))
if ARGV[8] ~= '' then
  local known = tonumber(call('GET', PACE) or ARGV[8])
  call('SET', PACE, 0.7 * known + 0.3 * ARGV[8], 'EX', 2592000)
end
result(ARGV[3], ARGV[5], ARGV[6], ARGV[7])
return get('status')
"""

# live holders (JSON), whether the queue is empty (0 or 1), grace and patience in seconds,
# attempts, result of a text that was lost, that hung, failure of a refused job, of an expired one,
# holders of the version (JSON), seconds after which a refusal that none followed counts no more,
# whether the queue is full (0 or 1), seconds until it is looked at again then
SWEEP = """
local status = get('status')
if not status then
  call('ZREM', ACTIVE, id)
  return 'gone'
end
if status ~= 'in_progress' and status ~= 'cancelling' then return status end
if now >= number('deadline') then
  fail_rest('expired', ARGV[11])
  return 'expired'
end
local by, refused_s = refused_lately(ARGV[13])
for _, holder in ipairs(cjson.decode(ARGV[12])) do
  -- One that refuses all the same holds another artifact.
  if not by[holder] then
    call('HDEL', J, unpack(REFUSED))
    refused_s = 0
  end
end
if refused_s > tonumber(ARGV[6]) then
  fail_rest('failed', ARGV[10])
  return 'failed'
end
local live = {}
for _, holder in ipairs(cjson.decode(ARGV[3])) do live[holder] = true end
local function make(first, count, attempts)
  put(first, {c = count, a = attempts, h = '', m = -1, s = now, w = ''})
  call('ZADD', READY, first, first)
end
local function lose(first, r)
  local attempts, at = tonumber(ARGV[7]), tonumber(first)
  drop(first)
  if status == 'cancelling' then
    count('cancelled', r.c)
    finish_if_done()
  elseif r.h ~= '' and r.c == 1 and r.a >= attempts then
    result(first, r.w == 'hung' and ARGV[9] or ARGV[8], 0, 1)
  elseif r.h ~= '' and r.c > 1 and r.m >= 0 then
    if r.m > at then make(at, r.m - at, 0) end
    make(r.m, 1, 1)
    if r.m + 1 < at + r.c then make(r.m + 1, at + r.c - r.m - 1, 0) end
  elseif r.h ~= '' and r.c > 1 and r.a >= attempts then
    local half = math.floor(r.c / 2)
    make(at, half, 1)
    make(at + half, r.c - half, 1)
  else
    make(at, r.c, r.a)
  end
end
local out = call('ZRANGE', OUT, 0, -1, 'WITHSCORES')
for n = 1, #out, 2 do
  local first, due, r = out[n], tonumber(out[n + 1]), row(out[n])
  if r.h ~= '' and not live[r.h] and due > now + ARGV[5] then
    due = now + ARGV[5]
    call('ZADD', OUT, due, first)
  elseif r.h == '' and ARGV[4] == '1' and now - r.s > tonumber(ARGV[5]) then
    due = now
  elseif due <= now and r.h == '' and not r.t and ARGV[14] == '1' then
    -- Never claimed: its message may still lie there, and another one would lie behind all others.
    due = now + ARGV[15]
    call('ZADD', OUT, due, first)
  end
  if due <= now then lose(first, r) end
end
keep()
return get('status')
"""

# seconds a chunk should take, chunks in `out` at most, seconds until one is sent again,
# texts of the first chunk, texts of any chunk at most, texts for which a chunk may take longer, and
# so many times the seconds at most
FEED = """
if get('status') ~= 'in_progress' then return {} end
local total, cursor, sent = number('total'), number('cursor'), {}
local pace = tonumber(call('GET', PACE) or '')
local least, size = tonumber(ARGV[6]), tonumber(ARGV[6])
if pace then
  local target = pace * ARGV[3]
  least = math.min(least, math.ceil(target))
  size = math.max(target, math.min(ARGV[8], target * ARGV[9]))
end
size = math.max(1, math.min(math.floor(size), tonumber(ARGV[7])))
local room = ARGV[4] - call('ZCARD', OUT)
while room > 0 do
  local first, r = call('ZRANGE', READY, 0, 0)[1], nil
  if first then
    call('ZREM', READY, first)
    r = row(first)
  elseif cursor < total then
    -- Smaller towards the end, so that no worker waits long for another one's last chunk.
    local rest = total - cursor
    local fair = math.ceil(2 * rest / ARGV[4])
    local count = math.min(rest, size, math.max(least, math.ceil(size / 8), fair))
    first, r = string.format('%d', cursor), {c = count, a = 0, m = -1, w = ''}
    cursor = cursor + count
  else
    break
  end
  r.h, r.s = '', now
  put(first, r)
  call('ZADD', OUT, now + ARGV[5], first)
  sent[#sent + 1] = tonumber(first)
  room = room - 1
end
call('HSET', J, 'cursor', cursor)
keep()
return sent
"""
