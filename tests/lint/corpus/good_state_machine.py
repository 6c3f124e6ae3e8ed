from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from durable import (
    Cancelled, Channel, TimeoutExpired, Workflow, activity, continue_as_new, info, now, on_signal, race,
    set_var, shield, sleep, spawn, timeout, wait_signal, wait_until, workflow,
)


class Phase(enum.Enum):
    DRAFT = "draft"
    REVIEW = "review"
    DONE = "done"

    @property
    def is_last(self) -> bool:
        return self is Phase.DONE


@activity
def notify(phase: str, **extra: Any) -> None: ...


@activity
def check(text: str) -> bool: ...


@dataclass
class Machine:
    phase: Phase = Phase.DRAFT
    text: str = ""
    log: list[tuple[str, str]] = field(default_factory=list)
    listeners: dict[Phase, list[Callable[[], None]]] = field(default_factory=dict)
    _dirty: bool = False

    def __post_init__(self) -> None:
        on_signal("edit", self.edit)
        on_signal("go", self._go)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self.log)

    def edit(self, text: str) -> None:
        self.text = text
        self._dirty = True

    def _go(self, _: object) -> None:
        self.move({Phase.DRAFT: Phase.REVIEW}.get(self.phase, Phase.DONE))

    def move(self, phase: Phase) -> None:
        self.log.append((self.phase.value, phase.value))
        self.phase = phase
        for listener in self.listeners.get(phase, []):
            listener()

    def when(self, phase: Phase, listener: Callable[[], None]) -> None:
        self.listeners.setdefault(phase, []).append(listener)

    def run(self) -> Workflow[str]:
        handlers: Mapping[Phase, Callable[[], Workflow[None]]] = {
            Phase.DRAFT: self.draft,
            Phase.REVIEW: self.review,
        }
        while not self.phase.is_last:
            yield from handlers[self.phase]()
            set_var("phase", self.phase.value)
        return self.text

    def draft(self) -> Workflow[None]:
        yield wait_until(lambda: self._dirty or self.phase is not Phase.DRAFT)
        self._dirty = False

    def review(self) -> Workflow[None]:
        try:
            with timeout(86400):
                ok = yield from check.call(self.text)
        except TimeoutExpired:
            self.move(Phase.DRAFT)
        else:
            self.move(Phase.DONE if ok else Phase.DRAFT)

    def cleanup(self) -> Workflow[None]:
        with shield():
            yield notify.call(self.phase.value, log=list(self))


@workflow
def document(text: str = "") -> Workflow[str]:
    machine = Machine(text=text)
    done: list[str] = []
    machine.when(Phase.DONE, lambda: done.append(now().isoformat()))
    try:
        result = yield from machine.run()
    except Cancelled:
        yield from machine.cleanup()
        raise
    finally:
        yield from machine.cleanup()
    if info().history_length > 1000:
        return continue_as_new(result)
    return result + "".join(done)


@workflow
def fan(items: list[str]) -> Workflow[list[str]]:
    jobs: Channel[str] = Channel(10)
    results: Channel[str] = Channel(10)

    def work(number: int) -> Workflow[None]:
        def handle(item: str) -> Workflow[None]:
            yield sleep(number)
            yield results.send(item.upper())

        yield from jobs.each(handle)

    for number in range(3):
        spawn(work(number), name=f"worker-{number}")
    for item in items:
        yield jobs.send(item)
    jobs.close()
    got = []
    while len(got) < len(items):
        answer = yield race(results.receive(), wait_signal("stop"), sleep(60))
        match answer.index:
            case 0:
                got.append(answer.value)
            case 1 | 2:
                break
    return got
