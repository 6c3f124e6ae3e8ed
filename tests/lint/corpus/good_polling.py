from dataclasses import dataclass
from itertools import count

from durable import ActivityError, Workflow, activity, continue_as_new, info, set_vars, sleep, workflow
from durable import timeout as limit


@dataclass
class Job:
    url: str
    every: float = 60.0
    failures: int = 0


@activity
def status(url: str) -> str: ...


@workflow
def poll(job: Job) -> Workflow[str]:
    while info().history_length < 10_000:
        try:
            state = yield from status.call(job.url)
        except ActivityError as error:
            job.failures += 1
            set_vars(failures=job.failures, last=str(error))
            if job.failures > 5:
                raise
        else:
            if state == "done":
                return state
        yield sleep(min(job.every * 2**job.failures, 3600))
    return continue_as_new(job)


@workflow
def poll_for_a_day(url: str) -> Workflow[str]:
    with limit(86400):
        for attempt in count(1):
            if (yield status.call(url)) == "done":
                return f"after {attempt}"
            yield sleep(60)
    return "never"


@workflow(timeout=86400)
def poll_for_the_run(url: str) -> Workflow[None]:
    while True:
        yield status.call(url)
        yield sleep(60)
