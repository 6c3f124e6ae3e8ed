try:
    import redis
except ImportError:
    redis = None

from durable import Workflow, activity, sleep, workflow


@activity
def store(name: str) -> None:
    redis.Redis().set(name, 1)


@workflow
def flow() -> Workflow[None]:
    yield sleep(1)
    yield store.call("a" if redis else "b")
