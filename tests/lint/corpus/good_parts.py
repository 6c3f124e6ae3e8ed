from durable import Workflow, activity, gather, sleep, spawn, workflow


@activity
def mail(name: str) -> str:
    return name


def all_of(names: list[str]) -> Workflow[list[str]]:
    texts = []
    for name in names:
        texts.append((yield from mail.call(name)))
    return texts


def twice(name: str) -> Workflow[list[str]]:
    part = all_of([name, name])
    return (yield from part)


@workflow
def flow() -> Workflow[list[str]]:
    yield gather(spawn(all_of(["a"])), spawn(twice("b")))
    tasks = [spawn(twice(name)) for name in "cd"]
    yield gather(*tasks)
    parts = {"e": all_of(["e"]), "f": twice("f")}
    for part in parts.values():
        yield from part
    yield sleep(1)
    return (yield from twice("g"))
