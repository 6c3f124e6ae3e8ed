from datetime import timedelta

from durable import Workflow, activity, sleep, workflow

NAMES = ("ann", "ben")


@activity
def mail(names: list[str] = []) -> None: ...


def other(names: list[str] = []) -> list[str]:
    return names


@workflow
def flow(
    names: tuple[str, ...] = NAMES,
    pause: timedelta = timedelta(hours=1),
    first: list[str] | None = None,
    *,
    kinds: frozenset[str] = frozenset({"a"}),
) -> Workflow[int]:
    yield sleep(pause)
    return len(names) + len(first or []) + len(kinds)
