from dataclasses import dataclass, field

from durable import Workflow, on_signal, wait_signal, workflow


@dataclass
class Cart:
    things: list[str] = field(default_factory=list)
    count: int = 0


LIMITS = {"tea": 3}


@workflow
def flow(cart: Cart) -> Workflow[list[str]]:
    seen: dict[str, int] = {}
    limits = dict(LIMITS)
    limits["tea"] = 4
    on_signal("add", cart.things.append)
    cart.count += 1
    cart.things.append("cups")
    seen["a"] = LIMITS.get("tea", 0)
    seen.setdefault("b", 1)
    del seen["a"]
    yield wait_signal("buy")
    return cart.things
