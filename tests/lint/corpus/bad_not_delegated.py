from durable import Channel, Workflow, gather, sleep, workflow


def part(seconds: float) -> Workflow[float]:
    yield sleep(seconds)
    return seconds


@workflow
def flow() -> Workflow[float]:
    jobs: Channel[int] = Channel(1)
    part(1)  # expect: DUR126 part(…) does not run: write `yield from part(…)`
    yield part(2)  # expect: DUR126 write `yield from part(…)`
    yield gather(part(3), part(4))  # expect: DUR126 write `spawn(part(…))` # expect: DUR126 no command
    yield gather(*[part(n) for n in range(3)])  # expect: DUR126 write `spawn(part(…))`
    for step in part(5):  # expect: DUR126 part(…)
        yield step
    jobs.each(part)  # expect: DUR126 jobs.each(…) does not run
    unused = part(6)  # expect: DUR126 part(…)
    return part(7)  # expect: DUR126 part(…)
