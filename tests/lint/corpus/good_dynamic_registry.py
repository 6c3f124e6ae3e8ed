from shop import activities, other
from shop.activities import REGISTRY, charge

from durable import Workflow, activity, gather, race, sleep, spawn, with_timeout, workflow


@activity
def small(n: int) -> int:
    return n


@activity
def large(n: int) -> int:
    return n


BY_SIZE = {"small": small, "large": large}


@workflow
def flow(kind: str, names: list[str]) -> Workflow[list[int]]:
    act = BY_SIZE[kind]
    first = yield act.call(1)
    second = yield BY_SIZE["large"].call(2)
    third = yield REGISTRY[kind].call(3)
    fourth = yield getattr(activities, kind).call(4)
    chosen = small if kind == "small" else large
    fifth = yield chosen.call(5)
    make = small.call
    sixth = yield make(6)
    others = yield gather(*[other.load.options(queue=name).call(name) for name in names])
    quick = charge.options(timeout=3)
    seventh = yield race(quick.call(7), sleep(1))
    calls = [make(n) for n in range(3)]
    calls += [chosen.call(n) for n in range(3)]
    eighth = yield gather(*calls)
    handles = [spawn(large.call(n)) for n in range(2)]
    ninth = yield gather(*handles)
    tenth = yield with_timeout(large.call(10), 5)
    both = gather(small.call(1), large.call(2))
    a, b = yield both
    return [first, second, third, fourth, fifth, sixth, *others, seventh.value, *eighth, *ninth, tenth, a, b]
