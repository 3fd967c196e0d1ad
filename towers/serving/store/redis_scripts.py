"""What Redis does at once, in Lua: nobody else sees or stops it halfway.

In a cluster a call touches keys of one slot alone. A part has a log, a stream. A user has the marks of what is logged
of theirs, a hash, and a history, a sorted set by time whose members are MessagePack: [order of coming at that time,
video, time].
"""

APPEND = """
local new = {}
for i = 1, #KEYS / 3 do
    local log, marks, history, at = KEYS[3 * i - 2], KEYS[3 * i - 1], KEYS[3 * i], 5 * i - 3
    local kind, id, body, watched, time = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4]
    new[i] = 1 - redis.call('HEXISTS', marks, kind .. id)
    if new[i] == 1 then
        redis.call('HSET', marks, kind .. id, redis.call('XADD', log, '*', kind, body))
        if watched ~= '' then
            local last = redis.call('ZREVRANGEBYSCORE', history, time, time, 'LIMIT', 0, 1)[1]
            local order = last and struct.unpack('>I4', last, 3) + 1 or 0
            redis.call('ZADD', history, time, struct.pack('>BBI4', 0x93, 0xce, order) .. watched)
            redis.call('ZREMRANGEBYRANK', history, 0, -ARGV[1] - 1)
        end
    end
end
return new
"""
"""KEYS: log, marks and history of each. ARGV: longest, then kind, id, body, video and time, time of each."""

HISTORIES = """
local histories = {}
for i, key in ipairs(KEYS) do
    local found = redis.call('ZRANGE', key, -ARGV[1], -1)
    histories[i] = struct.pack('>BI4', 0xdd, #found) .. table.concat(found)
end
return histories
"""
"""KEYS: histories. ARGV: longest. Returns a MessagePack array of each: a client reads a thousand replies in ms."""

ERASE = """
for _, mark in ipairs(redis.call('HVALS', KEYS[2])) do
    redis.call('XDEL', KEYS[1], mark)
end
redis.call('DEL', KEYS[2], KEYS[3])
"""
"""KEYS: log, marks, history."""

NOW = """
local now = redis.call('TIME')
return now[1] * 1000 + math.floor(now[2] / 1000)
"""
"""KEYS: one of the server that is asked. Returns the time, ms UTC."""

FORGET = """
local n = 0
for i = 2, #KEYS do
    local entry, mark = ARGV[2 * i - 3], ARGV[2 * i - 2]
    n = n + redis.call('XDEL', KEYS[1], entry)
    if redis.call('HGET', KEYS[i], mark) == entry then
        redis.call('HDEL', KEYS[i], mark)
    end
end
return n
"""
"""KEYS: log, marks of each. ARGV: its place in the log, and its mark, which by now may be of another place, of each."""

EXPORT = """
local found = {}
for _, mark in ipairs(redis.call('HVALS', KEYS[2])) do
    for _, entry in ipairs(redis.call('XRANGE', KEYS[1], mark, mark)) do
        table.insert(found, entry)
    end
end
return found
"""
"""KEYS: log, marks. Returns entries of the log, in no order."""

CHANGE = """
for i = 1, #ARGV, 2 do
    local number = redis.call('INCR', KEYS[1])
    redis.call('ZADD', KEYS[2], number, ARGV[i])
    redis.call('HSET', KEYS[3], ARGV[i], ARGV[i + 1])
end
return tonumber(redis.call('GET', KEYS[1]) or 0)
"""
"""KEYS: last number, what was changed by number, bodies. ARGV: what is changed and the body of each."""

CHANGES = """
local last = tonumber(redis.call('GET', KEYS[1]) or 0)
if last < tonumber(ARGV[1]) then
    return {last}
end
local found = redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. ARGV[1], '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[2])
for i = 1, #found, 2 do
    found[i], found[i + 1] = tonumber(found[i + 1]), redis.call('HGET', KEYS[3], found[i])
end
return found
"""
"""KEYS: as CHANGE. ARGV: after, most. Returns number and body of each; the last number where it is below `after`."""
