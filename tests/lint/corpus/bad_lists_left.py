from durable import Command, Workflow, activity, gather, race, sleep, with_timeout, workflow


@activity
def mail(name: str) -> str: ...


@workflow
def given_as_they_are(names: list[str]) -> Workflow[None]:
    commands = [mail.call(name) for name in names]
    yield gather(commands)  # expect: DUR122 takes commands, not a list: write a * before it
    yield commands  # expect: DUR122 write `yield gather(*commands)`
    yield from commands  # expect: DUR122 write `yield gather(*commands)`
    later: list[Command[str]] = []
    for name in names:
        later.append(mail.call(name))
    yield race(later)  # expect: DUR122 race(…) takes commands, not a list
    yield later  # expect: DUR122 write `yield gather(*later)`
    yield gather(map(mail.call, names))  # expect: DUR122 write a * before it
    yield from [mail.call("a"), mail.call("b")]  # expect: DUR122 write `yield gather(…)`
    yield {"a": mail.call("a")}  # expect: DUR122 several commands are no command
    by_name = {name: mail.call(name) for name in names}
    yield race(by_name)  # expect: DUR122 takes commands, not a dict: write a ** before it
    yield with_timeout(commands, 5)  # expect: DUR122 takes one command: write `gather(*…)` in it
    yield [*commands]  # expect: DUR122 several commands are no command
    yield gather(tuple(commands))  # expect: DUR122 gather(…) takes commands, not a list


@workflow
def nothing_becomes_of_them(names: list[str]) -> Workflow[int]:
    commands = []
    for name in names:
        commands.append(mail.call(name))  # expect: DUR122 mail.call(…) is not yielded
    if not commands:
        yield sleep(1)
    counted = [mail.call(name) for name in names]  # expect: DUR122 write `yield gather(…)`
    added = [mail.call("a")]  # expect: DUR122 is not yielded
    added += [mail.call("b")]  # expect: DUR122 is not yielded
    added.extend(mail.call(name) for name in names)  # expect: DUR122 is not yielded
    added.reverse()
    by_name = {}
    for name in names:
        by_name[name] = mail.call(name)  # expect: DUR122 mail.call(…) is not yielded
    copied = list(mail.call(name) for name in names)  # expect: DUR122 is not yielded
    for unused in copied:
        yield sleep(1)
    pairs = [(name, mail.call(name)) for name in names]  # expect: DUR122 is not yielded
    table = [[mail.call(name) for _ in names] for name in names]  # expect: DUR122 is not yielded
    both = [*[mail.call("a")], "b"]  # expect: DUR122 mail.call(…) is not yielded
    turned = reversed((mail.call("a"), mail.call("b")))  # expect: DUR122 is not # expect: DUR122 is not
    command = mail.call("c")  # expect: DUR122 mail.call(…) is not yielded
    kept = []
    kept.append(command)
    list(map(str, names))
    return len(counted)


@workflow
def returned(names: list[str]) -> Workflow[list[str]]:
    yield sleep(1)
    if not names:
        found = [mail.call("all")]  # expect: DUR125 write `(yield …)`
        return found
    return [mail.call(name) for name in names]  # expect: DUR125 write `return (yield gather(…))`
