import asyncio

from durable import Workflow, activity, workflow


async def get(url: str) -> str:
    await asyncio.sleep(0.1)
    return url


@activity
async def fetch(url: str) -> str:
    return await get(url)


@workflow
def flow(url: str) -> Workflow[str]:
    return (yield from fetch.call(url))
