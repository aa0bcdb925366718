-- Pktgen's part of a trial: reads `RATE COUNT` from its terminal, sends COUNT packets by port 0 at RATE per cent of its link,
-- and says what arrived at port 1. Lines of JSON, since pktgen writes other things there too.

local function say(text)
    io.stdout:write("\n" .. text .. "\n")
    io.stdout:flush()
end

-- Release 23.10.2 adds the counter of a port up once for each of the 64 queues it could have.
local TIMES = 64

pktgen.set("0", "burst", 32)
-- "<UP-100000-FD>": the speed that rates are parts of, which the driver makes up.
local megabits = pktgen.linkState("0")[0]:match("^<UP%-(%d+)")
say(string.format('{"link_megabits": %s}', megabits or 0))
for line in io.lines() do
    local rate, count, millis = line:match("^(%S+) (%d+) (%d+)")
    if not rate then
        break
    end
    pktgen.clr()
    pktgen.set("0", "count", tonumber(count))
    pktgen.set("0", "rate", tonumber(rate))
    say('{"began": true}')
    pktgen.start("0")
    -- Looking often takes time from the port's thread, which is on the same CPU.
    pktgen.delay(math.floor(millis * 9 / 10))
    while pktgen.isSending("0")[0] == "y" do
        pktgen.delay(1)
    end
    say('{"ended": true}')
    pktgen.delay(200)
    local arrived = pktgen.pktStats("1")[1]
    say(string.format('{"received": %d}', (arrived.ip_pkts + arrived.ipv6_pkts) // TIMES))
end
pktgen.quit()
