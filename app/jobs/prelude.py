"""Shared. What every script of `scripts` begins with: names for its keys, and what several do.

All get the keys of `keys.keys_of`, the id and the time; those that need it also the key of the
version's pace.
A row of `chunks` is JSON: c texts, a attempts, h who computes it ('' nobody), t the token of that
claim, m the text that is computed now (-1 unknown), s when it was sent, w why it was lost. A chunk
stands in `ready` or in `out`; texts from `cursor` on are in no chunk yet.
"""

PRELUDE = """
local J, TEXTS, IDS, CHUNKS, READY, OUT, DONE, RESULTS, GONE, JOBS, ACTIVE, TOTALS, PACE =
  unpack(KEYS)
local call, id, now = redis.call, ARGV[1], tonumber(ARGV[2])
local function get(field) return call('HGET', J, field) end
local function number(field) return tonumber(get(field) or 0) end
local function row(first)
  local raw = call('HGET', CHUNKS, first)
  return raw and cjson.decode(raw)
end
local function total(what, texts)
  call('HINCRBY', TOTALS, what, texts)
  call('EXPIRE', TOTALS, 2592000)
end
local function count(what, texts)
  call('HINCRBY', J, what, texts)
  total(what, texts)
end
local function put(first, r) call('HSET', CHUNKS, first, cjson.encode(r)) end
local REFUSED = {'refused_at', 'refused', 'refused_by'}
-- Who has refused the job in the last so many seconds, and for how long that has gone on.
local function refused_lately(lately_s)
  local by, last = {}, 0
  for holder, at in pairs(cjson.decode(get('refused_by') or '{}')) do
    if now - at < tonumber(lately_s) then by[holder], last = at, math.max(last, at) end
  end
  return by, last - tonumber(get('refused_at') or last)
end
local function drop(first)
  call('HDEL', CHUNKS, first)
  call('ZREM', OUT, first)
  call('ZREM', READY, first)
end
local function pending()
  return number('total') - number('succeeded') - number('failed') - number('cancelled')
end
local function keep()
  local ttl_s = math.max(1, math.ceil(number('expires_at') - now))
  for at = 1, 8 do call('EXPIRE', KEYS[at], ttl_s) end
  return ttl_s
end
local function remember()
  local ttl_s = keep()
  call('SET', GONE, 1, 'EX', ttl_s + number('gone_ttl_s'))
  for _, index in ipairs({JOBS, ACTIVE}) do
    if call('TTL', index) < ttl_s then call('EXPIRE', index, ttl_s) end
  end
end
local function finish(status)
  call('HSET', J, 'status', status, 'ended_at', ARGV[2],
    'expires_at', now + number('result_ttl_s'), 'cursor', number('total'))
  call('UNLINK', TEXTS, CHUNKS, READY, OUT)
  remember()
end
local function finish_if_done()
  if pending() > 0 then return end
  finish(get('status') == 'cancelling' and 'cancelled' or 'completed')
end
local function fail_rest(status, failure)
  count('failed', pending())
  call('HSET', J, 'error', failure)
  finish(status)
end
local function result(first, blob, succeeded, failed)
  drop(first)
  call('HSET', RESULTS, first, blob)
  call('ZADD', DONE, first, first)
  count('succeeded', succeeded)
  count('failed', failed)
  keep()
  finish_if_done()
end
"""
