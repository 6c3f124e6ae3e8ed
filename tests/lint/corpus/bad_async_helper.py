from durable import Workflow, sleep, workflow


async def fetch() -> str:  # expect: DUR141 a part of a workflow is a generator
    return ""


@workflow
def flow() -> Workflow[None]:
    yield fetch()
    await sleep(1)  # expect: DUR141 a workflow does not await
