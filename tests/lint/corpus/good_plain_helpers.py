from collections.abc import Callable, Iterable, Iterator
from functools import cache, reduce
from itertools import chain, islice, repeat, zip_longest
from operator import attrgetter, itemgetter
from string import Template
from textwrap import dedent
from types import MappingProxyType, SimpleNamespace

from durable import ActivityError, Command, Workflow, activity, gather, race, sleep, spawn, workflow

TEMPLATE = Template("Dear $name")
LIMITS = MappingProxyType({"gold": 100, "silver": 50})


@activity
def mail(name: str, text: str = "") -> str: ...


def chunked(items: Iterable[str], size: int) -> Iterator[list[str]]:
    rest = iter(items)
    while chunk := list(islice(rest, size)):
        yield chunk


@cache
def limit(kind: str) -> int:
    return LIMITS.get(kind, 10)


def render(name: str) -> str:
    lines: list[str] = []
    add = lines.append
    add(TEMPLATE.substitute(name=name))
    lines.sort()
    return dedent("\n".join(lines))


def ignoring(command: Command[str], *errors: type[Exception]) -> Workflow[str | None]:
    try:
        return (yield from command)
    except errors:
        return None


def batch(commands: list[Command[str]]) -> Command[list[str]]:
    return gather(*commands)


def first_of(commands: Iterable[Command[str]]) -> Command[object]:
    return race(*commands, sleep(5))


def make(name: str) -> Command[str]:
    command = mail.call(name, render(name))
    return command


def with_fallback(name: str) -> Command[str]:
    return mail.call(name) if name else mail.call("nobody")


@workflow
def flow(names: list[str], kind: str) -> Workflow[list[str]]:
    results: list[str] = []
    for chunk in chunked(names, limit(kind)):
        results += yield batch([make(name) for name in chunk])
    for name in names:
        results.append((yield from ignoring(mail.call(name), ActivityError)) or "")
    tasks = [spawn(ignoring(make(name), ActivityError)) for name in names]
    results.extend((yield gather(*tasks)))
    commands = list(chain.from_iterable(repeat(make(n), 2) for n in names))
    yield batch(commands)
    yield first_of(map(mail.call, names))
    yield first_of(make(n) for n in names)
    ranked = sorted(((len(r), r) for r in results), key=itemgetter(0, 1))
    total = reduce(lambda a, b: a + b, (n for n, _ in ranked), 0)
    space = SimpleNamespace(total=total)
    space.total += 1
    table = dict.fromkeys(names, 0)
    table |= {name: index for index, name in enumerate(names)}
    getter: Callable[[SimpleNamespace], int] = attrgetter("total")
    pairs = [f"{a}{b}" for a, b in zip_longest(names, results)]
    yield with_fallback(str(getter(space)))
    return pairs + list(table)
