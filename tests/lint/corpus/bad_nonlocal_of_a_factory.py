from durable import Workflow, sleep, workflow


def make():
    runs = 0
    names = []

    @workflow
    def flow(name: str) -> Workflow[None]:
        nonlocal runs
        runs += 1  # expect: DUR109 runs lives outside
        names.append(name)  # expect: DUR109 names lives outside
        yield sleep(runs)

    return flow
