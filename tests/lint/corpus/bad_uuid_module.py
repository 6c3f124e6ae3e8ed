import uuid
from uuid import uuid4 as new_id

from durable import Workflow, activity, workflow


@activity
def charge(key: str) -> None: ...


@workflow
def flow() -> Workflow[None]:
    yield charge.call(str(uuid.uuid1()))  # expect: DUR103 uuid.uuid1() makes another one
    yield charge.call(new_id().hex)  # expect: DUR103 use uuid4() of durable
