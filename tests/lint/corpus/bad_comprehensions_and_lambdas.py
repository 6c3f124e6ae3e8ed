from random import Random, choice, random as draw, shuffle
from datetime import datetime
from time import time

from durable import Workflow, activity, gather, sleep, wait_signal, workflow


@activity
def mail(name: str) -> str: ...


def jitter() -> float:
    return draw() * 2  # expect: DUR102 random.random() draws another number in each replay


@workflow
def flow(names: list[str]) -> Workflow[object]:
    texts = [(yield mail.call(name)) for name in names]  # expect: DUR123 a comprehension cannot yield
    table = {name: (yield from mail.call(name)) for name in names}  # expect: DUR123 a comprehension cannot yield
    ages = {name: time() for name in names}  # expect: DUR101 time.time() gives another time in each replay
    names.sort(key=lambda name: draw())  # expect: DUR102 random.random() draws another number in each replay
    shuffle(names)  # expect: DUR102 random.shuffle() draws another number in each replay
    winner = max(names, key=lambda name: Random().random())  # expect: DUR102 random.Random() draws another number in each replay
    late = any(datetime.now() for _ in names)  # expect: DUR101 datetime.datetime.now() gives another time in each replay
    lucky = choice(names) if names else None  # expect: DUR102 random.choice() draws another number in each replay
    yield sleep(jitter())
    jobs = (mail.call(name) for name in names)  # expect: DUR122 mail.call(…) is not yielded, so nothing is done
    sent = [mail.call(name) for name in names if not wait_signal("x")]  # expect: DUR122 wait_signal(…) is no result yet
    yield from gather(*sent)
    results = [mail.call(name) for name in names]  # expect: DUR122 mail.call(…) is not yielded, so nothing is done
    print(results)  # expect: DUR105 print() says it again in every replay
    return gather(*[mail.call(n) for n in names]), texts, table, ages, winner, late, lucky  # expect: DUR125 gather(…) is returned, not its result
