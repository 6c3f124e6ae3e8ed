import durable
from durable import calls


@durable.workflow
def flow() -> durable.Workflow[str]:
    yield durable.sleep(durable.random().random())
    return f"{calls.now()} {durable.uuid4()} {calls.random().random()}"
