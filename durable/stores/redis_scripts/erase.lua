-- erase(): all tables go, with all that is in them.

return redis.call('UNLINK', unpack(KEYS))
