"""What cannot be stored is refused at the line that gives it, by a client and in a workflow."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from engine_kit import Engine

from durable import (
    Retry,
    RetryLater,
    Status,
    Workflow,
    activity,
    external,
    patched,
    send_signal,
    set_var,
    sleep,
    sleep_until,
    spawn,
    wait_signal,
    workflow,
)
from durable.calls import on_signal, set_vars
from durable.errors import ActivityError, PayloadError, UsageError
from durable.interpreter import ScheduledTask
from durable.model import Instance
from durable.runner import decide, steps
from durable.starting import start_at
from durable.store import NextRun

HOURS = timedelta(hours=12)
TOO_LATE = datetime.max.replace(tzinfo=timezone(-HOURS))
TOO_EARLY = datetime.min.replace(tzinfo=timezone(HOURS))
LAST = datetime.max.replace(tzinfo=UTC)
FIRST = datetime.min.replace(tzinfo=UTC)

NOT_UTF_8 = "a\ud800"
BAD_TEXTS = (NOT_UTF_8, "", "a\0b")


def refusals(*calls: Callable[[], Any]) -> list[str]:
    """The errors of the calls, each of which must fail."""
    found = []
    for number, call in enumerate(calls):
        try:
            made = call()
        except Exception as error:
            found.append(f"{type(error).__name__}: {error}")
        else:
            raise AssertionError(f"call {number} gave {made!r}")
    return found


@activity(retry=None)
def echo(value: Any) -> Any:
    return value


@activity(retry=None)
def later(early: bool) -> None:
    raise RetryLater(at=TOO_EARLY if early else TOO_LATE)


@workflow
def idle() -> Workflow[str]:
    yield sleep(0)
    return "done"


# -- moments ----------------------------------------------------------------------------


def test_moments_outside_the_years_of_utc_are_refused_by_the_client(engine: Engine) -> None:
    client = engine.client
    for wrong in (TOO_LATE, TOO_EARLY):
        for call in (
            lambda at: idle.options(start_at=at),
            lambda at: RetryLater(at=at),
            lambda at: client.list(since=at),
            lambda at: client.purge(at),
        ):
            with pytest.raises(ValueError, match="outside the years 1 to 9999 in UTC"):
                call(wrong)
    handle = engine.start(idle.options(start_at=LAST))
    # Redis keeps moments after the year 2255 to 64 microseconds.
    assert timedelta() <= LAST - handle.describe()["wake_at"] < timedelta(microseconds=64)
    assert handle.status() is Status.PENDING


def test_moments_outside_the_years_of_utc_are_refused_in_a_workflow(engine: Engine) -> None:
    @workflow
    def flow() -> Workflow[Any]:
        errors = refusals(
            *(
                call
                for at in (TOO_LATE, TOO_EARLY)
                for call in (
                    lambda at=at: sleep_until(at),
                    lambda at=at: idle.options(start_at=at).call(),
                )
            )
        )
        for early in (False, True):
            try:
                yield later.call(early)
            except ActivityError as error:
                errors.append(f"{error.error.type}: {error.error.message}")
        yield sleep_until(FIRST)
        _ = spawn(sleep_until(LAST))
        return errors

    engine.work([flow, idle], [later])
    errors = engine.run(flow)
    assert len(errors) == 6
    for error in errors:
        assert error.startswith("ValueError: "), error
        assert error.endswith("is outside the years 1 to 9999 in UTC"), error


# -- options of a start -----------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        *({"id": text} for text in BAD_TEXTS),
        {"id": "x" * 256},
        *({"queue": text} for text in BAD_TEXTS),
        *({"tags": ["ok", text]} for text in BAD_TEXTS),
        *({"version": version} for version in (0, -1, True, 1.5, "2")),
    ],
    ids=repr,
)
def test_options_of_a_start_are_checked(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        idle.options(**wrong)


def test_options_of_a_start_have_types() -> None:
    for wrong in ({"id": 5}, {"queue": 5}, {"tags": [5]}, {"tags": "ab"}):
        with pytest.raises(TypeError):
            idle.options(**wrong)


def test_the_memo_of_a_child_is_encoded_at_its_yield(engine: Engine) -> None:
    @workflow
    def flow() -> Workflow[Any]:
        try:
            yield idle.options(memo={"x": object()}).call()
        except PayloadError as error:
            refused = str(error)
        memo = {"n": 1}
        task = spawn(idle.options(id="child", memo=memo).call())
        yield sleep(0)
        memo["n"] = 2  # too late: it was taken when the child was started
        return [refused, (yield task)]

    engine.work([flow, idle])
    refused, result = engine.run(flow)
    assert "memo" in refused
    assert result == "done"
    assert engine.client.get("child").describe()["memo"] == {"n": 1}
    assert engine.client.count() == 2


def test_durations_are_rounded_up() -> None:
    assert start_at(idle.options(delay=1e-7).settings, 5) == 6
    assert start_at(idle.options(delay=timedelta(microseconds=3)).settings, 5) == 8
    assert start_at(idle.options(start_at=FIRST).settings, 5) == 5
    call = echo.options(retry=Retry(total_timeout=1e-7)).call(1)
    row = steps.new_task(ScheduledTask(0, call, "default", b"", None), "", 5)
    assert row.deadline == 6


# -- names ------------------------------------------------------------------------------


@pytest.mark.parametrize("text", BAD_TEXTS, ids=repr)
def test_names_that_cannot_be_stored_are_refused(engine: Engine, text: str) -> None:
    @workflow
    def flow() -> Workflow[Any]:
        errors = refusals(
            lambda: send_signal(text, "go"),
            lambda: send_signal("x", text),
            lambda: wait_signal(text),
            lambda: set_var(text, 1),
            lambda: set_vars(**{text: 1, "ok": 1}),
            lambda: echo.options(queue=text),
            lambda: external(text),
            lambda: patched(text),
            lambda: on_signal(text, print),
            lambda: spawn(sleep(0), name=text),
            lambda: idle.options(id=text).call(),
            lambda: idle.options(queue=text).call(),
            lambda: idle.options(tags=[text]).call(),
        )
        return [errors, (yield echo.call(len(errors)))]

    engine.work([flow, idle], [echo])
    handle = engine.start(flow)
    errors, count = handle.result(timeout=20)
    assert count == 13
    assert all(error.startswith("UsageError: ") for error in errors), errors
    assert handle.vars() == {}

    client = engine.client
    for call in (
        lambda: client.signal("x", text),
        lambda: client.signal_or_start(idle.options(id="y"), signal=text),
        lambda: client.start(text),
        lambda: activity(name=text)(print),
        lambda: activity(queue=text),
        lambda: workflow(queue=text)(idle.fn),
    ):
        with pytest.raises(UsageError):
            call()
    assert client.count() == 1


def test_names_may_have_any_letters(engine: Engine) -> None:
    name = "Straße \U0001f600"

    @workflow
    def flow() -> Workflow[Any]:
        set_var(name, 1)
        return [(yield wait_signal(name)), patched(name)]

    engine.work([flow])
    handle = engine.start(flow.options(id=name, tags=[name]))
    handle.signal(name, "x")
    assert handle.result(timeout=20) == ["x", True]
    assert handle.vars() == {name: 1}
    assert engine.client.count(tag=name) == 1


# -- the run that follows ---------------------------------------------------------------


def test_chance_decides_once_on_the_run_that_follows(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, float]] = []
    real = steps.next_run

    def counted(instance: Instance, *args: Any) -> NextRun | None:
        asked.append((instance.run, args[-1]))
        return real(instance, *args)

    monkeypatch.setattr(decide, "next_run", counted)

    @workflow(retry=Retry(max_attempts=2, first_delay=0))
    def flow() -> Workflow[None]:
        yield wait_signal("go")
        raise ValueError("again")

    handle = engine.start(flow)
    for _ in range(2):
        handle.signal("go")
    engine.work([flow])
    described = engine.becomes(handle, Status.FAILED)
    assert described["run"] == 2
    assert [run for run, _ in asked] == [1, 2]
    assert all(0 <= unit < 1 for _, unit in asked)


@pytest.mark.parametrize(("sign", "shown"), [(0, "a\\x00"), (0xD800, "a\\ud800")])
def test_errors_with_signs_that_no_store_takes(engine: Engine, sign: int, shown: str) -> None:
    @activity(retry=None)
    def parse(sign: int) -> None:
        raise ValueError(f"no number: a{chr(sign)}")

    @workflow
    def flow(sign: int) -> Workflow[None]:
        yield parse.call(sign)

    engine.work([flow], [parse])
    description = engine.becomes(engine.start(flow, sign), Status.FAILED)
    assert description["reason"].endswith(f"no number: {shown}")


def test_a_reason_to_block_with_signs_that_no_store_takes(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any) -> None:
        raise UsageError("a\0b")

    monkeypatch.setattr(decide.Decider, "_decide", broken)
    engine.work([idle])
    description = engine.becomes(engine.start(idle), Status.BLOCKED)
    assert description["reason"] == "UsageError: a\\x00b"
