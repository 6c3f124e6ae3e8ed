"""The clock of a server, as it is known between its answers."""

from __future__ import annotations

import pytest

from durable.stores.server_clock import ServerClock


class Time:
    """Of this process, and of a server that is 100 s ahead. answers: how long they take."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.here = 0.0
        self.answers = 0.0
        self.asked = 0
        monkeypatch.setattr("durable.stores.server_clock.time.monotonic", lambda: self.here)

    def ask(self) -> int:
        self.asked += 1
        told = self.server
        self.here += self.answers
        return told

    @property
    def server(self) -> int:
        return int((100 + self.here) * 1_000_000)


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    return Time(monkeypatch)


def test_it_goes_on_between_two_answers(time: Time) -> None:
    clock = ServerClock(time.ask)
    for _ in range(4):
        assert clock.now() == time.server
        time.here += 0.25
    assert time.asked == 1
    time.here += 0.25
    assert clock.now() == time.server
    assert time.asked == 2


def test_an_answer_that_came_slowly_does_not_put_it_back(time: Time) -> None:
    clock = ServerClock(time.ask)
    clock.now()
    time.answers = 0.4
    clock.told(time.ask())
    assert clock.now() == time.server
    time.answers = 0.0
    time.here += 1.0
    assert clock.now() == time.server


def test_an_answer_that_came_quickly_puts_it_forward(time: Time) -> None:
    time.answers = 0.5
    clock = ServerClock(time.ask)
    assert clock.now() == time.server - 500_000
    time.answers = 0.0
    clock.told(time.ask())
    assert clock.now() == time.server


def test_a_server_whose_clock_was_put_back_is_believed(time: Time) -> None:
    clock = ServerClock(time.ask)
    clock.now()
    clock.told(time.server - 3_600_000_000)
    assert clock.now() == time.server - 3_600_000_000
