-- Load for wrk (one thread). Options after `--`, each key=value:
--   texts    file with one JSON-escaped text per line      first    number of the first text
--   batch    texts per request; 0: one, as "text"          repeat   cycle over so many texts only
--   rate     requests per second on a fixed schedule, whether or not answers come (open loop)
--   deadline_ms   open loop: what counts as answered in time
-- Prints one line: RESULT and a JSON object.

local ffi = require("ffi")
ffi.cdef [[
  typedef struct { long sec; long nsec; } bench_timespec;
  int clock_gettime(int clock, bench_timespec *now);
]]
local MONOTONIC = 1
local spec = ffi.new("bench_timespec")
local threads = {}

local function now_ms()
  ffi.C.clock_gettime(MONOTONIC, spec)
  return tonumber(spec.sec) * 1000 + tonumber(spec.nsec) / 1e6
end

function setup(thread)
  threads[#threads + 1] = thread
end

local function read_options(args)
  local found = {}
  for _, argument in ipairs(args) do
    local key, value = argument:match("^([%w_]+)=(.*)$")
    if key then found[key] = tonumber(value) or value end
  end
  return found
end

local lines, options, head

-- Must agree with Texts.at in texts.py.
local function text_at(number)
  local passes = math.floor(number / #lines)
  local line = lines[number - passes * #lines + 1]
  if passes > 0 then line = line .. " again" .. passes end
  return line
end

local function next_text()
  local number = options.first + used
  if options["repeat"] then number = options.first + used % options["repeat"] end
  used = used + 1
  return text_at(number)
end

local function body()
  if options.batch == 0 then return '{"text": "' .. next_text() .. '"}' end
  local texts = {}
  for i = 1, options.batch do texts[i] = next_text() end
  return '{"texts": ["' .. table.concat(texts, '", "') .. '"]}'
end

local function message(headers)
  local content = body()
  return head .. headers .. "Content-Length: " .. #content .. "\r\n\r\n" .. content
end

-- Sends when the schedule says so. The id comes back with the answer and tells when it was sent.
local function follow_schedule()
  local interval_ms, next_at, id = 1000 / options.rate, nil, 0

  function request()
    id = id + 1
    sent_at[id] = now_ms()
    return message("X-Request-ID: " .. id .. "\r\n")
  end

  function delay()
    local now = now_ms()
    if not next_at then
      next_at, sent_at[1] = now, nil -- wrk asks for one request that it does not send
    end
    local wait = math.max(0, math.floor(next_at - now))
    if now - next_at > worst_slip_ms then worst_slip_ms = now - next_at end
    next_at = next_at + interval_ms
    return wait
  end

  function response(status, headers)
    local answered = tonumber(headers["X-Request-ID"] or headers["x-request-id"])
    if not answered or not sent_at[answered] then
      unknown = unknown + 1
      return
    end
    answers[#answers + 1] = status
    answers[#answers + 1] = now_ms() - sent_at[answered]
    sent_at[answered] = nil
  end
end

function init(args)
  options, lines = read_options(args), {}
  -- Globals: `done` runs in a state of its own and can read only these of the thread. Flat: wrk
  -- ends with a panic where a table has tables in it.
  used, sent_at, answers, unknown, worst_slip_ms, plan = 0, {}, {}, 0, 0, options
  for line in io.lines(options.texts) do lines[#lines + 1] = line end
  head = "POST " .. wrk.path .. " HTTP/1.1\r\nHost: " .. wrk.host .. ":" .. wrk.port
    .. "\r\nContent-Type: application/json\r\n"
  if options.rate then
    follow_schedule()
  else
    function request() return message("") end
  end
end

local function quote(value)
  return string.format("%.6g", value)
end

local function at_share(sorted, share)
  return sorted[math.max(1, math.ceil(share * #sorted))]
end

-- Count and percentiles in ms of one status; `in_time` where it came before the deadline.
local function describe(values, deadline_ms)
  table.sort(values)
  local in_time = 0
  for _, value in ipairs(values) do
    if value <= deadline_ms then in_time = in_time + 1 end
  end
  return string.format('{"count": %d, "in_time": %d, "p50_ms": %s, "p99_ms": %s, "max_ms": %s}',
    #values, in_time, quote(at_share(values, 0.5)), quote(at_share(values, 0.99)),
    quote(values[#values]))
end

local function describe_schedule(thread, deadline_ms)
  local answered, took_ms, statuses, late = thread:get("answers"), {}, {}, 0
  for i = 1, #answered, 2 do
    local values = took_ms[answered[i]] or {}
    values[#values + 1] = answered[i + 1]
    took_ms[answered[i]] = values
  end
  for status, values in pairs(took_ms) do
    statuses[#statuses + 1] = string.format('"%d": %s', status, describe(values, deadline_ms))
  end
  local pending, now = thread:get("sent_at"), now_ms()
  for _, at in pairs(pending) do
    if now - at > deadline_ms then late = late + 1 end
  end
  return string.format(', "statuses": {%s}, "never_answered": %d, "unknown_ids": %d, "slip_ms": %s',
    table.concat(statuses, ", "), late, thread:get("unknown"), quote(thread:get("worst_slip_ms")))
end

function done(summary, latency)
  local thread = threads[1]
  local more, errors, plan = "", summary.errors, thread:get("plan")
  if plan.rate then more = describe_schedule(thread, plan.deadline_ms) end
  print(string.format('RESULT {"requests": %d, "duration_us": %d, "bytes": %d, "texts_used": %d, '
    .. '"errors": {"connect": %d, "read": %d, "write": %d, "status": %d, "timeout": %d}, '
    .. '"p50_us": %d, "p90_us": %d, "p99_us": %d, "max_us": %d, "mean_us": %s%s}',
    summary.requests, summary.duration, summary.bytes, thread:get("used"),
    errors.connect, errors.read, errors.write, errors.status, errors.timeout,
    latency:percentile(50), latency:percentile(90), latency:percentile(99), latency.max,
    quote(latency.mean), more))
end
