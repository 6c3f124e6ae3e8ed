from durable import Workflow, on_signal, spawn, sleep, wait_until, workflow


@workflow
def flow(needed: int) -> Workflow[list[str]]:
    voters: list[str] = []
    on_signal("vote", lambda name: voters.append(name))
    later = lambda: sleep(5)  # noqa: E731 — a command, made when it is called
    yield later()
    yield wait_until(lambda: len(voters) >= needed)
    task = spawn(sleep(1))
    yield task
    return sorted(voters, key=lambda name: name.lower())
