from durable import Cancelled, TimeoutExpired, Workflow, sleep, workflow


@workflow
def flow() -> Workflow[None]:
    for _ in range(3):
        try:
            yield sleep(1)
        except Cancelled:  # expect: DUR131 raise it again, or return
            pass
        try:
            yield sleep(1)
        except (TimeoutExpired, Cancelled):  # expect: DUR131 except Cancelled swallows it
            continue
