import settings
from durable import Workflow, sleep, workflow

CACHE: dict[str, list[int]] = {}
SEEN = []


class Totals:
    cents = 0


@workflow
def flow(name: str) -> Workflow[None]:
    CACHE[name] = []  # expect: DUR109 CACHE lives outside
    CACHE[name].append(1)  # expect: DUR109 CACHE lives outside
    SEEN.append(name)  # expect: DUR109 SEEN lives outside
    yield sleep(1)
    del CACHE[name]  # expect: DUR109 CACHE lives outside
    Totals.cents += 5  # expect: DUR109 Totals lives outside
    settings.DEBUG = True  # expect: DUR109 settings lives outside
