from durable import (
    ActivityError,
    CancelScope,
    Channel,
    ChannelClosed,
    Workflow,
    activity,
    on_signal,
    race,
    sleep,
    spawn,
    timeout,
    wait_signal,
    workflow,
)


@activity
def poll() -> bool:
    return True


@workflow
def until_told() -> Workflow[str]:
    while True:
        text = yield wait_signal("text")
        if text == "stop":
            return "stopped"


@workflow
def until_found() -> Workflow[None]:
    while True:
        if (yield poll.call()):
            break
        yield sleep(60)


@workflow
def until_failure() -> Workflow[None]:
    try:
        while True:
            yield poll.call()
    except ActivityError:
        yield sleep(1)


@workflow
def in_scopes() -> Workflow[None]:
    with timeout(60):
        while True:
            yield sleep(1)
    with CancelScope() as scope:
        on_signal("stop", lambda value: scope.cancel())
        while True:
            yield sleep(1)


@workflow
def until_closed() -> Workflow[None]:
    orders: Channel[str] = Channel()
    spawn(orders.send("tea"))
    while True:
        try:
            yield race(orders.receive(), sleep(60))
        except ChannelClosed:
            return


def next_state(state: int) -> Workflow[int]:
    if not (yield poll.call()):
        raise ValueError("the end")
    return state + 1


def demand(state: int) -> None:
    if state > 5:
        raise ValueError("the end")


@workflow
def until_a_part_raises(state: int) -> Workflow[None]:
    while True:
        state = yield from next_state(state)


@workflow
def until_a_helper_raises(state: int) -> Workflow[None]:
    while True:
        yield sleep(1)
        demand(state)


@workflow(timeout=3600)
def limited() -> Workflow[None]:
    while True:
        yield sleep(60)
