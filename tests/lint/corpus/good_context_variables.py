from contextvars import ContextVar

from durable import Workflow, activity, workflow

tenant: ContextVar[str] = ContextVar("tenant", default="nobody")


@activity
def whose() -> str:
    return tenant.get()


@workflow
def flow() -> Workflow[str]:
    tenant.set("acme")
    return (yield from whose.call())
