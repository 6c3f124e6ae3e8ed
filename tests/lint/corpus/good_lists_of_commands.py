from dataclasses import dataclass, field

from durable import Command, Workflow, activity, gather, race, sleep, spawn, with_timeout, workflow


@activity
def mail(name: str) -> str:
    return name


@dataclass
class Plan:
    commands: list[Command[str]] = field(default_factory=list)


def plan(names: list[str]) -> list[Command[str]]:
    commands = []
    for name in names:
        commands.append(mail.call(name))
    return commands


def planned(names: list[str]) -> Workflow[list[Command[str]]]:
    yield sleep(1)
    return [mail.call(name) for name in names]


def send(commands: list[Command[str]]) -> Workflow[None]:
    commands.append(mail.call("last"))
    yield gather(*commands)


@workflow
def flow(names: list[str]) -> Workflow[list[str]]:
    commands = []
    for name in names:
        commands.append(mail.call(name))
    if commands:
        yield gather(*commands)
    first = [mail.call(name) for name in names]
    first.extend(plan(names))
    while first:
        yield first.pop()
    by_name = {}
    for name in names:
        by_name[name] = mail.call(name)
    yield race(**by_name, late=sleep(60))
    yield by_name["a"]
    whole = Plan()
    whole.commands.append(mail.call("a"))
    yield gather(*whole.commands)
    given = [mail.call("a")]
    yield from send(given)
    steps = (mail.call("a"), mail.call("b"))
    for step in steps:
        yield step
    tasks = [spawn(mail.call(name)) for name in names]
    tasks.append(spawn(sleep(1)))
    for index, command in enumerate([mail.call("a")]):
        yield sleep(index)
        yield command
    yield gather(*map(mail.call, names))
    yield gather(*plan(names))
    yield gather(*(yield from planned(names)))
    yield gather(*[mail.call("a")] + [mail.call("b")])
    pairs = [("a", mail.call("a")), ("b", mail.call("b"))]
    yield race(**dict(pairs))
    alike = [mail.call(name) for name in names]
    alike = yield gather(*alike)
    yield with_timeout(gather(*[mail.call(name) for name in names]), 60)
    return alike
