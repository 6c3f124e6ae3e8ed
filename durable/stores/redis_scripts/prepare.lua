-- prepare(schema, secret, partitions): initialise the partition, unless it is; what holds then.

redis.call('HSETNX', SETTINGS, 'schema', R[1])
redis.call('HSETNX', SETTINGS, 'secret', R[2])
redis.call('HSETNX', SETTINGS, 'partitions', R[3])
return redis.call('HMGET', SETTINGS, 'schema', 'secret', 'partitions')
