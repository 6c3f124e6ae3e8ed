from durable import Workflow, sleep, workflow


@workflow
def flow() -> Workflow[str]:
    """Calls time.time() and open()."""
    text = "time.time(); random.random()"
    yield sleep(1)
    return f"{text} # {text!r}"
