from durable import Workflow, activity, gather, workflow


@activity
def mail(name: str) -> None: ...


@workflow
def flow(names: list[str], guests: set[str]) -> Workflow[None]:
    for name in set(names):  # expect: DUR110 the order of set(names) differs
        yield mail.call(name)
    for name in {"ann", "ben"}:  # expect: DUR110 use sorted(…)
        yield mail.call(name)
    for name in {"ann", 1}:  # expect: DUR110 use sorted(…)
        yield mail.call(name)
    for name in guests:  # expect: DUR110 the order of guests
        yield mail.call(name)
    yield gather(*[mail.call(name) for name in guests - {"ann"}])  # expect: DUR110 guests - {'ann'}


@workflow
def counts(names: list[str]) -> Workflow[list[int]]:
    seen: set[str] = set()
    met: set[int] = set()
    count, order = 0, dict[str, int]()
    for name in set(names):  # expect: DUR110 the order of set(names)
        met.add(count)
        count += 1
    for name in set(names):  # expect: DUR110 the order of set(names)
        seen.add(name)
        yield mail.call(name)
    text = ""
    for name in set(names):  # expect: DUR110 the order of set(names)
        text += name
    order.update((name, 1) for name in set(names))  # expect: DUR110 the order of set(names)
    for name in set(names):  # expect: DUR110 the order of set(names)
        order[name] = 1
    for name in set(names):  # expect: DUR110 the order of set(names)
        seen.add((yield mail.call(name)))
    return [len(met), len(seen), len(order), len(text)]
