from durable import activity, sleep, workflow


@activity
async def fetch() -> str:
    return ""


@workflow
async def flow() -> str:  # expect: DUR141 a workflow is a generator: write `def`
    await sleep(1)
    return await fetch.call()
