from __future__ import annotations

import typing as t
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable, Mapping, Sequence
from functools import partial

from durable import (
    Command, Workflow, activity, gather, side_effect, sleep, spawn, wait_signal, workflow,
)

T = t.TypeVar("T")


@activity
def load(key: str) -> dict[str, int]:
    return {key: 1}


@activity
def store(key: str, value: int) -> None: ...


class Step(ABC):
    @abstractmethod
    def run(self, data: dict[str, int]) -> Workflow[dict[str, int]]: ...


class Double(Step):
    def run(self, data: dict[str, int]) -> Workflow[dict[str, int]]:
        yield sleep(0)
        return {key: value * 2 for key, value in data.items()}


class Save(Step):
    def __init__(self, prefix: str) -> None:
        self.prefix = prefix

    def run(self, data: dict[str, int]) -> Workflow[dict[str, int]]:
        yield gather(*[store.call(self.prefix + key, value) for key, value in data.items()])
        return data


STEPS: t.Final[tuple[Step, ...]] = (Double(), Save("x-"))


def in_batches(commands: Sequence[Command[T]], size: int) -> Workflow[list[T]]:
    results: list[T] = []
    for start in range(0, len(commands), size):
        results += yield from gather(*commands[start : start + size])
    return results


def pipeline(steps: Iterable[Step], data: dict[str, int]) -> Workflow[dict[str, int]]:
    for step in steps:
        data = yield from step.run(data)
    return data


def first_of(name: str, kind: type[T]) -> Generator[Command[t.Any], t.Any, T]:
    return (yield from wait_signal(name, kind))


@workflow
def run(keys: list[str], options: Mapping[str, int] | None = None) -> Workflow[int]:
    loaded = yield from in_batches([load.call(key) for key in keys], 10)
    merged: dict[str, int] = {}
    for part in loaded:
        merged |= part
    merged = yield from pipeline(STEPS, merged)
    lucky = yield side_effect(partial(max, merged.values()))
    go = yield from first_of("go", bool)
    beside = spawn(pipeline(STEPS[:1], merged), name="beside")
    *head, last = sorted(merged)
    total = sum(v for k, v in merged.items() if k in head)
    extra = yield beside
    return total + lucky + len(extra) + len(last) if go else 0
