import logging
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from durable import Workflow, activity, info, logger, sleep, workflow


@activity
def mail(name: str) -> None: ...


@dataclass
class State:
    root: Path
    seen: set[str] = field(default_factory=set)
    names: list[str] = field(default_factory=list)
    first: "State | None" = None


class Steps:
    def __init__(self, names: set[str]) -> None:
        self.waiting = sorted(names)
        self.names = names
        self.log = logger()
        self.parent = self
        self.a = self.b = None
        self.c = self.d
        self.d = self.c

    def all(self) -> Workflow[None]:
        self.names = list(dict.fromkeys(self.waiting))
        for name in self.names:
            yield mail.call(name)
        for name in self.waiting:
            yield mail.call(name)
        self.log.info("done")
        if not info().is_replaying:
            logging.getLogger("steps").info("done")
            print("done", self.parent.parent.waiting, self.c.d)


@workflow
def flow(state: State) -> Workflow[str]:
    steps = Steps(state.seen)
    yield from steps.all()
    for name in sorted(state.seen) + state.names:
        yield mail.call(name)
    if "a" in state.seen and state.first is not None:
        yield sleep(len(state.first.seen))
    return PurePath(state.root.name).suffix
