from contextlib import suppress

from durable import Cancelled, CancelScope, Workflow, on_signal, sleep, timeout, workflow


@workflow
def flow() -> Workflow[str]:
    with CancelScope() as scope:
        on_signal("stop", lambda value: scope.cancel())
        try:
            yield sleep(3600)
        except Cancelled:
            pass
    with timeout(5), suppress(Cancelled):
        yield sleep(60)
    try:
        yield sleep(1)
    except Cancelled:
        return "stopped"
    return "slept"
