import contextvars
from contextlib import AbstractContextManager, closing, suppress
from types import TracebackType

from durable import (
    CancelScope, Cancelled, ChannelClosed, Channel, TaskCancelled, Workflow, activity, info,
    logger, on_signal, set_var, shield, sleep, spawn, wait_signal, workflow,
)

tenant: contextvars.ContextVar[str] = contextvars.ContextVar("tenant", default="")


class Stage(AbstractContextManager["Stage"]):
    def __init__(self, name: str) -> None:
        self.name = name

    def __enter__(self) -> "Stage":
        set_var("stage", self.name)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> bool:
        set_var("stage", "")
        return False


@activity
def step(n: int) -> int: ...


@workflow
def flow(n: int) -> Workflow[int]:
    tenant.set(f"t-{info().instance_id}")
    done = 0
    queue: Channel[int] = Channel(3)

    def produce() -> Workflow[None]:
        with closing(queue):
            for i in range(n):
                yield queue.send(i)

    producer = spawn(produce())
    with Stage("running") as stage, CancelScope() as scope:
        on_signal("stop", lambda _: scope.cancel())
        with suppress(ChannelClosed):
            while True:
                done += yield step.call((yield queue.receive()))
    logger().info("%s %s", stage.name, done)
    with suppress(TaskCancelled, ValueError):
        yield producer
    if scope.cancelled:
        with shield():
            yield step.call(-1)
        raise Cancelled
    try:
        yield sleep(1)
    except Cancelled:
        return done
    try:
        value = yield wait_signal("n", int)
    except ValueError:
        value = 0
    finally:
        set_var("done", done)
    return done + value
