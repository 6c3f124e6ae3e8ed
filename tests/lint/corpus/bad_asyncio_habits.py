import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import UTC, datetime

import httpx

from durable import Workflow, activity, sleep, workflow

logger = logging.getLogger(__name__)
pool = ThreadPoolExecutor(4)


@activity
async def fetch(url: str) -> str:
    async with httpx.AsyncClient() as client:
        return (await client.get(url)).text


async def both(urls: list[str]) -> list[str]:  # expect: DUR141 a part of a workflow is a generator
    return await asyncio.gather(*[fetch(url) for url in urls])  # expect: DUR107 asyncio.gather() is not repeated in the same order # expect: DUR121 fetch(…) is called in the workflow


@workflow
async def loading(urls: list[str]) -> list[str]:  # expect: DUR141 a workflow is a generator
    await asyncio.sleep(1)  # expect: DUR106 asyncio.sleep() holds up the worker, again in every replay
    return await both(urls)


@workflow
def running(urls: list[str]) -> Workflow[list[str]]:
    logger.info("began at %s", datetime.now(UTC))  # expect: DUR105 logging.getLogger().info() says it again in every replay # expect: DUR101 datetime.datetime.now() gives another time in each replay
    texts = asyncio.run(both(urls))  # expect: DUR107 asyncio.run() is not repeated in the same order
    futures = [pool.submit(fetch, url) for url in urls]  # expect: DUR107 concurrent.futures.ThreadPoolExecutor().submit() is not repeated in the same order
    for future in as_completed(futures):  # expect: DUR107 concurrent.futures.as_completed() is not repeated in the same order
        texts.append(future.result())
    with httpx.Client() as client:  # expect: DUR104 httpx.Client() is done again in every replay
        texts.append(client.get(urls[0]).text)
    logging.getLogger(__name__).debug("got %d", len(texts))  # expect: DUR105 logging.getLogger().debug() says it again in every replay
    yield sleep(1)
    return texts
