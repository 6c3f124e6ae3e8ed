from durable import Channel, Workflow, external, on_signal, sleep, spawn, workflow


def beat(seconds: float) -> Workflow[None]:
    while True:
        yield sleep(seconds)


@workflow
def flow() -> Workflow[object]:
    jobs: Channel[str] = Channel(2)
    spawn(beat(60))
    spawn(sleep(3600), name="late")
    spawn(jobs.each(print_later))
    on_signal("job", print_later)
    promise = external("answer", timeout=60)
    yield jobs.send(promise.token)
    jobs.close()
    yield from jobs.each(print_later)
    return (yield promise)


def print_later(job: str) -> Workflow[None]:
    yield sleep(len(job))
