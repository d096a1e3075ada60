-- Bookings by wrk, which waits for answers (closed loop): each line of a file once, with a key of its own.
--   python -m bench.prepare http://127.0.0.1:8000 20000 > bookings.txt
--   wrk -t 2 -c 32 -d 10s --latency -s bench/wrk.lua http://127.0.0.1:8000/graphql -- bookings.txt 2
-- The last number is that of -t. Bookings and errors by code are told at the end. A thread that has no lines left stops,
-- but rates count until -d is over: have more lines than are asked. A token in IGOB_TOKEN is sent.

local BOOK = "mutation ($input: BookAppointmentInput!) { bookAppointment(input: $input) {"
  .. " appointment { id slot start state } position errors { code message path } } }"

local threads = {}

function setup(thread)
  thread:set("number", #threads)
  table.insert(threads, thread)
end

local function random_name()
  local source = assert(io.open("/dev/urandom", "rb"))
  local bytes = source:read(8)
  source:close()
  return (bytes:gsub(".", function(byte) return string.format("%02x", byte:byte()) end))
end

function init(args)
  local path, count = args[1], tonumber(args[2])
  assert(path and count, "after -- come the file of bookings and the number of threads")
  wrk.method = "POST"
  wrk.headers["Content-Type"] = "application/json"
  wrk.headers["Accept"] = "application/graphql-response+json"
  local token = os.getenv("IGOB_TOKEN")
  if token and token ~= "" then wrk.headers["Authorization"] = "Bearer " .. token end
  bodies, sent, booked, codes = {}, 0, 0, {}
  local run, line_number = random_name(), 0
  for line in io.lines(path) do
    if line_number % count == number then
      local agenda, slot, patient = line:match("^(%S+) (%d+) (%S+)$")
      assert(agenda, path .. ": not a booking: " .. line)
      table.insert(bodies, string.format(
        '{"query":"%s","variables":{"input":{"agenda":"%s","slot":%s,"patient":"%s","idempotencyKey":"wrk-%s-%d"}}}',
        BOOK, agenda, slot, patient, run, line_number))
    end
    line_number = line_number + 1
  end
  assert(#bodies > 0, path .. ": fewer bookings than threads")
end

function request()
  sent = sent + 1
  if sent > #bodies then
    wrk.thread:stop()
    return wrk.format("GET", "/healthz")
  end
  return wrk.format(nil, nil, nil, bodies[sent])
end

function response(status, _, body)
  local found = false
  for code in body:gmatch('"code": ?"([%w_]+)"') do
    codes[code], found = (codes[code] or 0) + 1, true
  end
  if found then return end
  if status == 200 and body:find('"position": ?"?%d') then
    booked = booked + 1
  elseif sent <= #bodies then
    local code = "http_" .. status
    codes[code] = (codes[code] or 0) + 1
  end
end

function done(summary)
  local all, bookings = {}, 0
  for _, thread in ipairs(threads) do
    bookings = bookings + thread:get("booked")
    for code, times in pairs(thread:get("codes")) do all[code] = (all[code] or 0) + times end
  end
  print(string.format("bookings: %d, a second: %.1f", bookings, bookings / (summary.duration / 1e6)))
  for code, times in pairs(all) do print(string.format("error %s: %d", code, times)) end
end
