from datetime import timedelta
from typing import Any, cast

import durable
from durable import (
    ChildWorkflowError, Task, Workflow, activity, external, gather, info, now, on_signal, race,
    send_signal, set_vars, side_effect, sleep, spawn, wait_signal, wait_until, workflow,
)


@activity
def send_link(email: str, token: str) -> None: ...


@workflow
def verify(email: str) -> Workflow[bool]:
    promise = external(name=f"verify-{email}", timeout=timedelta(days=3))
    yield send_link.call(email, promise.token)
    try:
        return cast(bool, (yield promise))
    except durable.PromiseError:
        return False


@workflow
def onboard(emails: list[str]) -> Workflow[dict[str, Any]]:
    answers: dict[str, bool] = {}
    stopped: list[str] = []
    on_signal("stop", stopped.append)
    tasks: dict[str, Task[bool]] = {e: spawn(verify.call(e), name=e) for e in emails}
    deadline = now() + timedelta(days=7)
    while tasks and now() < deadline and not stopped:
        winner = yield race(**tasks, tick=sleep(3600))
        if winner.name == "tick":
            set_vars(waiting=list(tasks), at=now().isoformat())
            continue
        answers[winner.name] = winner.value
        del tasks[winner.name]
    for name, task in tasks.items():
        task.cancel()
        answers[name] = False
    starts = [verify.options(id=f"{info().instance_id}/{n}").call(e) for n, e in enumerate(emails)]
    try:
        results = yield gather(*starts, return_exceptions=True)
    except ChildWorkflowError as error:
        results = [error]
    yield wait_until(lambda: len(answers) >= len(emails))
    yield send_signal("boss", "done", {"answers": answers})
    host = yield side_effect(lambda: __import__("socket").gethostname(), type=str)
    command = sleep(1) if len(results) > 2 else wait_signal("go")
    yield command
    pending = [sleep(n) for n in range(3)]
    pending.append(sleep(5))
    while pending:
        yield pending.pop(0)
    return {"host": host, "answers": answers}
