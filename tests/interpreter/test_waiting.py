"""What is waited for, in words, over random workflows: a walk through a history sees at each
step what was there when it was made."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from random_driver import Driver, Watched
from random_programs import program

from durable.client.where_text import coroutine_lines
from durable.client.whereabouts import is_whole, places


def seen(interpreter: Watched) -> list[Any]:
    """All but local variables, whose texts have addresses."""
    found = places(interpreter, {})
    lines = [line for place in found for line in coroutine_lines(place)]
    assert all(isinstance(line, str) for line in lines)
    return [(p.name, p.waits_for, [(f.line, f.function) for f in p.frames]) for p in found]


@pytest.mark.parametrize("seed", range(60))
def test_a_walk_sees_what_was_there(seed: int) -> None:
    random = Random(seed)
    driver = Driver(program(random, size=10), random)
    live = {len(driver.history) - 1: seen(driver.interpreter)}
    for _ in driver.steps():
        live[len(driver.history) - 1] = seen(driver.interpreter)
    walking = driver.fresh()
    walked = {}
    for seq in walking.steps(driver.history):
        walked[seq] = seen(walking)
        assert walking.replaying
        assert is_whole(walking) or not walking.coroutines
    assert walked == live
    for interpreter in (walking, driver.interpreter):
        interpreter.close()
