"""Where histories are cut: for a retry, and for a fork."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

import pytest

from durable import events as e
from durable.client.rewind import ENDS, fork_point, open_children, retry_point
from durable.errors import UsageError
from durable.model import EPOCH

AT = (0, EPOCH)
STARTED = e.WorkflowStarted(*AT, "flow", 1, b"", None, None, [], None, "default", b"seed")
FAILED = e.WorkflowFailed(*AT, ["E", "m"])
CANCELLED = e.WorkflowCancelled(*AT, "")
CANCEL = e.CancelRequested(*AT, "")
PAUSED, RESUMED = e.Paused(*AT), e.Resumed(*AT)
RETRIED = e.Retried(*AT, 1)
FORKED = e.Forked(*AT, "other", 7, b"seed")
SIGNAL = e.SignalReceived(*AT, "go", b"", "m")


def scheduled(command: int) -> e.Event:
    return e.ActivityScheduled(*AT, command, "act", b"", None, "default")


def completed(command: int) -> e.Event:
    return e.ActivityCompleted(*AT, command, b"", 1)


def failed(command: int) -> e.Event:
    return e.ActivityFailed(*AT, command, ["E", "m"], 1)


def stopping(command: int) -> e.Event:
    return e.ActivityCancelRequested(*AT, command)


def stopped(command: int) -> e.Event:
    return e.ActivityCancelled(*AT, command)


def timer(command: int) -> e.Event:
    return e.TimerStarted(*AT, command, EPOCH)


def fired(command: int) -> e.Event:
    return e.TimerFired(*AT, command)


def child(command: int, id: str = "kid") -> e.Event:
    return e.ChildStarted(*AT, command, "flow", id, b"", None)


def child_failed(command: int, started: bool = True) -> e.Event:
    return e.ChildFailed(*AT, command, ["E", "m"], started)


def child_completed(command: int) -> e.Event:
    return e.ChildCompleted(*AT, command, b"")


def promise(command: int) -> e.Event:
    return e.PromiseCreated(*AT, command, "token")


def history(*events: e.Event) -> list[e.Event]:
    return [replace(event, seq=seq) for seq, event in enumerate((STARTED, *events))]


def point(*events: e.Event) -> tuple[int, list[int]]:
    """Length of what is kept, and the seqs of what is applied again."""
    cut, again = retry_point(history(*events))
    return cut, [event.seq for event in again]


# -- retry ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("issued", "happened"),
    [
        (scheduled(0), failed(0)),
        (child(0), child_failed(0)),
        (child(0), child_failed(0, started=False)),
        (timer(0), fired(0)),
        (promise(0), e.PromiseFailed(*AT, 0, ["E", "m"])),
        (e.SignalSent(*AT, 0, "x", "go", b""), e.SignalFailed(*AT, 0, ["E", "m"])),
    ],
)
def test_what_failed_is_asked_for_again(issued: e.Event, happened: e.Event) -> None:
    assert point(issued, happened, FAILED) == (2, [])
    assert point(issued, happened, timer(1), FAILED) == (2, [])  # issued on the way to the end


@pytest.mark.parametrize(
    ("issued", "happened"),
    [
        (scheduled(0), completed(0)),
        (child(0), child_completed(0)),
        (promise(0), e.PromiseCompleted(*AT, 0, b"")),
        (e.SignalSent(*AT, 0, "x", "go", b""), e.SignalDelivered(*AT, 0)),
        (scheduled(0), SIGNAL),
        (scheduled(0), CANCEL),
    ],
)
def test_anything_else_is_applied_again(issued: e.Event, happened: e.Event) -> None:
    assert point(issued, happened, FAILED) == (2, [2])


def test_only_the_last_thing_that_happened_is_left_out() -> None:
    assert point(scheduled(0), completed(0), scheduled(1), failed(1), FAILED) == (4, [])
    assert point(scheduled(0), SIGNAL, completed(0), scheduled(1), FAILED) == (3, [3])


def test_a_failure_in_the_first_step_keeps_nothing() -> None:
    assert point(FAILED) == (0, [])
    assert point(timer(0), scheduled(1), FAILED) == (0, [])


def test_pauses_are_passed_over() -> None:
    assert point(scheduled(0), failed(0), PAUSED, RESUMED, FAILED) == (2, [])
    assert point(scheduled(0), PAUSED, RESUMED, failed(0), FAILED) == (4, [])
    assert point(PAUSED, RESUMED, FAILED) == (0, [])


def test_an_activity_that_was_stopped_before_is_not_started_again() -> None:
    asked = (scheduled(0), SIGNAL, stopping(0), scheduled(1))
    assert point(*asked, stopped(0), FAILED) == (5, [5])


def test_what_only_had_to_end_is_passed_over() -> None:
    """A gather fails when those that it has asked to stop have ended."""
    three = (scheduled(0), scheduled(1), timer(2))
    stop = (stopping(0), e.TimerCancelled(*AT, 2))
    assert point(*three, failed(1), *stop, stopped(0), FAILED) == (4, [])
    assert point(*three, failed(1), *stop, completed(0), FAILED) == (4, [7])
    assert point(*three, failed(1), *stop, failed(0), PAUSED, RESUMED, FAILED) == (4, [])
    assert point(scheduled(0), SIGNAL, stopping(0), completed(0), FAILED) == (2, [2, 4])
    assert point(scheduled(0), child(1), failed(0), e.ChildCancelRequested(*AT, 1),
                 child_failed(1), FAILED) == (3, [])  # fmt: skip
    # One stop can be the consequence of another.
    chain = (scheduled(0), scheduled(1), scheduled(2), failed(0), stopping(1), stopped(1))
    assert point(*chain, stopping(2), stopped(2), FAILED) == (4, [])


def test_clean_up_is_not_undone() -> None:
    two = (scheduled(0), scheduled(1), failed(1), stopping(0))
    assert point(*two, stopped(0), scheduled(2), completed(2), FAILED) == (7, [7])
    assert point(*two, scheduled(2), completed(2), completed(0), FAILED) == (7, [7])


def test_a_cancelled_run_goes_on_as_if_it_had_not_been() -> None:
    assert point(scheduled(0), CANCEL, CANCELLED) == (2, [])
    cleaned_up = (scheduled(1), completed(1))
    assert point(scheduled(0), CANCEL, stopping(0), stopped(0), *cleaned_up, CANCELLED) == (2, [])
    # A scope that was cancelled stays so: the second request changes nothing.
    assert point(scheduled(0), CANCEL, scheduled(1), CANCEL, CANCELLED) == (2, [])


def test_what_came_after_the_cancel_is_not_lost() -> None:
    late = (CANCEL, stopping(0), SIGNAL, completed(0), scheduled(1), completed(1), CANCELLED)
    assert point(scheduled(0), *late) == (2, [4, 5])


def test_a_run_that_raised_cancelled_itself() -> None:
    assert point(scheduled(0), completed(0), CANCELLED) == (2, [2])
    assert point(CANCELLED) == (0, [])


def test_a_run_whose_time_was_up() -> None:
    deadline = fired(e.RUN_DEADLINE)
    assert point(scheduled(0), deadline, FAILED) == (2, [])
    late = (stopping(0), SIGNAL, stopped(0), FAILED)
    assert point(scheduled(0), deadline, *late) == (2, [4])


def test_a_retry_that_failed_is_retried() -> None:
    assert point(scheduled(0), RETRIED, failed(0), FAILED) == (3, [])
    assert point(scheduled(0), RETRIED, FAILED) == (2, [])  # at once: another Retried comes
    assert point(scheduled(0), RETRIED, SIGNAL, FAILED) == (3, [3])


def test_a_fork_that_failed_keeps_its_seed() -> None:
    assert point(scheduled(0), FORKED, failed(0), FAILED) == (3, [])
    assert point(scheduled(0), FORKED, FAILED) == (2, [2])
    assert point(scheduled(0), CANCEL, stopping(0), FORKED, CANCELLED) == (2, [4])


@pytest.mark.parametrize(
    "end",
    [None, e.WorkflowCompleted(*AT, b""), e.WorkflowTerminated(*AT, ""), SIGNAL],
)
def test_other_histories_are_not_retried(end: e.Event | None) -> None:
    with pytest.raises(UsageError, match="failed or was cancelled"):
        retry_point(history(*([end] if end else [])))
    with pytest.raises(UsageError):
        retry_point([])


# -- fork -------------------------------------------------------------------------------

STEPS = history(
    timer(0), scheduled(1),  # 1, 2
    fired(0), scheduled(2),  # 3, 4
    SIGNAL,  # 5
    completed(1), timer(3), FAILED,  # 6, 7, 8
)  # fmt: skip


def test_a_fork_is_cut_at_the_end_of_a_step() -> None:
    assert [fork_point(STEPS, at) for at in (2, 4, 5)] == [3, 5, 6]
    going_on = STEPS[:6]
    assert fork_point(going_on, 5) == 6


@pytest.mark.parametrize(
    ("at", "why"),
    [
        (0, r"event 0 is in the middle of a step; at= can be 2$"),
        (1, r"event 1 is in the middle of a step; at= can be 2$"),
        (3, r"event 3 is in the middle of a step; at= can be 2 or 4$"),
        (6, r"event 6 is in the middle of a step; at= can be 5$"),
        (7, r"event 7 is in the middle of a step; at= can be 5$"),
        (8, r"event 8 is the end of the run, after which nothing goes on; at= can be 5$"),
        (9, r"there is no event 9: the history has 9; at= can be 5$"),
        (-1, r"there is no event -1: the history has 9; at= can be 2$"),
    ],
)
def test_other_places_are_refused_and_the_nearest_are_named(at: int, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        fork_point(STEPS, at)


@pytest.mark.parametrize("at", [True, "3", 2.0, None])
def test_a_seq_is_a_number(at: Any) -> None:
    with pytest.raises(TypeError, match="seq of an event"):
        fork_point(STEPS, at)


def test_open_children_are_named() -> None:
    family = history(
        child(0, "tom"), child(1, "tim"),  # 1, 2
        child_completed(0),  # 3
        child_failed(1), scheduled(2),  # 4, 5
        SIGNAL, child(3, "kim"), completed(2),  # 6, 7, 8
    )  # fmt: skip
    with pytest.raises(UsageError, match=r"children are open \(tom, tim\); at= can be 5$"):
        fork_point(family, 2)
    with pytest.raises(UsageError, match=r"\(tim\); at= can be 5$"):
        fork_point(family, 3)
    assert fork_point(family, 5) == 6
    assert [c.instance_id for c in open_children(family)] == ["kim"]
    many = history(*(child(n, f"c{n}") for n in range(9)))
    with pytest.raises(UsageError, match=r"\(c0, c1, c2, …\); it cannot be forked anywhere$"):
        fork_point(many, 9)


def test_a_child_that_is_asked_to_stop_in_its_first_step_never_begins() -> None:
    ask = e.ChildCancelRequested(*AT, 0)
    at_once = history(child(0), ask, SIGNAL)  # 1, 2, 3
    assert open_children(at_once) == []
    assert fork_point(at_once, 2) == 3
    later = history(child(0), SIGNAL, ask)
    assert [c.command for c in open_children(later)] == [0]
    with pytest.raises(UsageError, match="children are open"):
        fork_point(later, 3)


def test_a_run_of_one_step() -> None:
    assert fork_point(history(), 0) == 1
    with pytest.raises(UsageError, match="middle of a step; it cannot be forked anywhere"):
        fork_point(history(FAILED), 0)
    with pytest.raises(UsageError, match="the history has 0"):
        fork_point([], 0)


def test_a_terminated_run_is_forked_before_its_end() -> None:
    ended = history(scheduled(0), e.WorkflowTerminated(*AT, ""))
    assert fork_point(ended, 1) == 2
    with pytest.raises(UsageError, match=r"is the end of the run.*can be 1$"):
        fork_point(ended, 2)


# -- random histories -------------------------------------------------------------------


def random_history(seed: int) -> list[e.Event]:
    """Steps that could have happened, and an end."""
    random = Random(seed)
    found: list[e.Event] = []
    pending: dict[int, Any] = {}
    asked: set[int] = set()
    issues = (
        (scheduled, (completed, failed)),
        (timer, (fired,)),
        (child, (child_completed, child_failed)),
        (promise, (lambda n: e.PromiseCompleted(*AT, n, b""),)),
    )
    numbers = 0
    for _ in range(random.randrange(12)):
        for _ in range(random.randrange(3)):
            if pending and random.random() < 0.2:
                command = random.choice(list(pending))
                if isinstance(pending[command][0], e.ActivityScheduled) and command not in asked:
                    asked.add(command)
                    found.append(stopping(command))
                    pending[command] = (pending[command][0], (completed, stopped))
                continue
            issue, answers = random.choice(issues)
            found.append(issue(numbers))
            pending[numbers] = (found[-1], answers)
            numbers += 1
        choices = [SIGNAL, CANCEL, PAUSED, RETRIED, fired(e.RUN_DEADLINE)]
        if pending and random.random() < 0.7:
            command = random.choice(list(pending))
            found.append(random.choice(pending.pop(command)[1])(command))
        else:
            found.append(random.choice(choices))
    return history(*found, random.choice([FAILED, CANCELLED]))


@pytest.mark.parametrize("seed", range(300))
def test_random_retries(seed: int) -> None:
    events = random_history(seed)
    cut, again = retry_point(events)
    kept = events[:cut]
    assert not events[cut].issued  # between two steps
    assert not any(isinstance(event, ENDS) for event in kept)
    seqs = [event.seq for event in again]
    assert seqs == sorted(set(seqs))
    assert all(seq >= cut for seq in seqs)
    lost = [event for event in events[cut:] if isinstance(event, e.SignalReceived)]
    assert [event for event in again if isinstance(event, e.SignalReceived)] == lost
    issued = [event.command for event in kept if event.issued and hasattr(event, "command")]
    answers = [getattr(x, "command", None) for x in (*kept, *again) if not x.issued]
    answers = [command for command in answers if command not in (None, e.RUN_DEADLINE)]
    assert len(answers) == len(set(answers))
    assert set(answers) <= set(issued)
    # Once more: the new run fails at what is applied again, or at the Retried itself.
    second = [*kept, RETRIED, *again, FAILED] if kept else [STARTED, FAILED]
    second = [replace(event, seq=seq) for seq, event in enumerate(second)]
    assert retry_point(second)[0] <= len(second) - 2


@pytest.mark.parametrize("seed", range(100))
def test_random_forks(seed: int) -> None:
    events = random_history(seed)
    valid = []
    for at in range(len(events)):
        try:
            valid.append(fork_point(events, at) - 1)
        except UsageError as error:
            named = [int(word) for word in str(error).partition("can be ")[2].split(" or ") if word]
            assert all(fork_point(events, near) == near + 1 for near in named)
    for at in valid:
        assert not events[at + 1].issued
        assert open_children(events[: at + 1]) == []
