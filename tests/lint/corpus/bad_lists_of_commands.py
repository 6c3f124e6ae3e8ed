from durable import Workflow, activity, gather, race, sleep, workflow


@activity
def mail(name: str) -> None: ...


@workflow
def flow(names: list[str]) -> Workflow[None]:
    yield [mail.call("a"), mail.call("b")]  # expect: DUR122 write `yield gather(…)`
    yield sleep(1), mail.call("c")  # expect: DUR122 several commands are no command
    yield gather([mail.call(name) for name in names])  # expect: DUR122 write a * before it
    yield race((sleep(1), sleep(2)))  # expect: DUR122 race(…) takes commands
    [mail.call(name) for name in names]  # expect: DUR122 mail.call(…) is not yielded
    unused = [mail.call(name) for name in names]  # expect: DUR122 mail.call(…) is not yielded
    yield mail  # expect: DUR121 mail is no command: write `yield mail.call(…)`
