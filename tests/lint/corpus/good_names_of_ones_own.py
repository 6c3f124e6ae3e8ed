from durable import Workflow, activity, workflow


class Clock:
    def time(self) -> float:
        return 1.0


def open(name: str) -> str:
    return name


def hash(text: str) -> int:
    return len(text)


@activity
def wait(seconds: float) -> None: ...


@workflow
def flow(time: Clock, random: list[int], id: str) -> Workflow[str]:
    yield wait.call(time.time() + hash(id))
    random.sort()
    print = str.upper
    return print(open(id))
