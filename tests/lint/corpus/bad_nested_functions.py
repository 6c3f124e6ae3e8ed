import time

from durable import Channel, Workflow, on_signal, sleep, spawn, workflow


@workflow
def flow() -> Workflow[None]:
    seen = []

    def note(value: str) -> None:
        seen.append((value, time.time()))  # expect: DUR101 (in the workflow flow)

    def beat() -> Workflow[None]:
        yield sleep(time.monotonic())  # expect: DUR101 time.monotonic()

    def handle(job: str) -> Workflow[None]:
        print(job)  # expect: DUR105 print()
        yield sleep(1)

    jobs = Channel(1)
    on_signal("note", note)
    spawn(beat())
    spawn(jobs.each(handle))
    yield sleep(1)
