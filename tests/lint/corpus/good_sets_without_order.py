from durable import Workflow, activity, workflow


@activity
def mail(text: str) -> None: ...


@workflow
def flow(names: list[str]) -> Workflow[bool]:
    unique = {name.lower() for name in names}
    short = {name for name in unique if len(name) < 4}
    longest = max(len(name) for name in unique)
    yield mail.call(f"{len(unique)} {longest} {min(unique)}")
    unique.add("zoe")
    unique |= short
    unique.discard("ann")
    if any(name.startswith("b") for name in unique) and short <= unique:
        yield mail.call(", ".join(sorted(name.title() for name in unique)))
    total = sum(map(len, names))
    both = {*unique, *short}
    return all(name in unique for name in sorted(short)) and total > len(both)


@workflow
def filled(names: list[str]) -> Workflow[int]:
    seen: set[str] = set()
    count = 0
    seen.update(name.lower() for name in set(names))
    for name in set(names):
        seen.add(name.upper())
        count += 1
    for name in set(names):
        seen.discard(name)
    for number in {1, 2}:
        yield mail.call(f"{number} {count}")
    return len(seen.union([name for name in set(names)]))
