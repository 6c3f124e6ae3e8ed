"""A workflow with its tests, as they stand in one file of a small project."""

import os
import random
import time
import unittest
from datetime import datetime
from unittest import mock

import pytest

from durable import Cancelled, Orchestrator, Workflow, activity, gather, sleep, wait_signal, workflow
from durable.testing import WorkflowEnv


@activity
def charge(cents: int) -> str:
    return os.environ["SHOP"] + str(cents)


@workflow
def pay(cents: int) -> Workflow[str]:
    yield sleep(1)
    answer = yield wait_signal("go")
    if answer == "no":
        return "refused"
    first, second = yield gather(charge.call(cents), charge.call(1))
    return first + second


class PayTests(unittest.TestCase):
    def test_steps(self) -> None:
        gen = pay(5)
        self.assertEqual(next(gen), sleep(1))
        assert gen.send(None) == wait_signal("go")
        commands = [charge.call(5), charge.call(1)]
        assert gen.send("yes") == gather(*commands)
        with pytest.raises(StopIteration):
            gen.send(["a", "b"])

    def test_cancel(self) -> None:
        gen = pay(random.randint(1, 9))
        next(gen)
        with self.assertRaises(Cancelled):
            gen.throw(Cancelled())


@pytest.fixture
def env(monkeypatch):
    monkeypatch.setenv("SHOP", "s-")
    os.environ["MODE"] = "test"
    yield WorkflowEnv(pay, activities=[charge])


@mock.patch.dict(os.environ, {"SHOP": "s-"})
def test_live():
    began = time.time()
    with Orchestrator("memory://", workflows=[pay], activities=[charge]) as here:
        handle = here.client.start(pay, 5)
        handle.signal("go", "yes")
        try:
            print(handle.result(timeout=5), datetime.now())
        except BaseException:
            raise
    assert time.time() - began < 5
