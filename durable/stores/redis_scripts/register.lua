-- register(id, worker, lease's end): add a worker.

put(WORKERS, R[1], cmsgpack.pack(R[2]))
put(LEASES, R[1], string.format('%.0f', R[3]))
flush()
return 0
