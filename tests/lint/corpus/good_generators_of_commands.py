from collections.abc import Iterator

from durable import Command, Workflow, activity, gather, workflow


@activity
def mail(name: str) -> str:
    return name


def mails(names: list[str]) -> Iterator[Command[str]]:
    for name in names:
        yield mail.call(name)


@workflow
def flow(names: list[str]) -> Workflow[list[str]]:
    texts = yield gather(*mails(names))
    for command in mails(names):
        texts.append((yield command))
    commands = list(mails(names))
    return texts + (yield gather(*commands))
