from durable import Workflow, activity, logger, span, workflow


@activity
def charge() -> None: ...


@workflow
def flow() -> Workflow[None]:
    log = logger()
    with span("charging", kind="card"):
        log.info("charging")
        yield charge.call()
    log.warning("charged")
