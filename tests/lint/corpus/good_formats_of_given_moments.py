import time
import uuid
from datetime import UTC, date, datetime, timedelta
from random import Random

from durable import Workflow, info, now, sleep_until, workflow


@workflow
def flow(text: str, stamp: float) -> Workflow[str]:
    yield sleep_until(datetime.fromisoformat(text) + timedelta(hours=1))
    at = datetime.fromtimestamp(stamp, UTC)
    day = date(2026, 1, 1) + timedelta(days=Random(7).randint(1, 3))
    key = uuid.uuid5(uuid.NAMESPACE_URL, info().instance_id)
    shown = time.strftime("%H", time.gmtime(stamp))
    return f"{at} {day} {key} {shown} {now().date()} {uuid.UUID(text)}"
