"""What somebody outside says by a token: the result of a promise, or of an activity's attempt."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from durable import message_ids
from durable.client.caller import Caller
from durable.errors import InstanceFinished, InstanceNotFound, UsageError
from durable.events import (
    ActivityCompleted,
    ActivityFailed,
    Event,
    PromiseCompleted,
    PromiseCreated,
    PromiseFailed,
    dump,
)
from durable.failure import Failure
from durable.model import EPOCH
from durable.store import Completion, Outgoing, Sent
from durable.tokens import PROMISE, Token, read_token


def complete_by_token(caller: Caller, text: str, value: Any) -> None:
    """The thing that a token is for has a result: see `Client.complete`."""
    token, secret = _read(caller, text)
    payload = caller.codec.encode(value, "value")
    command = token.command
    if token.kind == PROMISE:
        _keep_promise(caller, token, secret, PromiseCompleted(0, EPOCH, command, payload))
    else:
        _end_attempt(caller, token, lambda n: ActivityCompleted(0, EPOCH, command, payload, n))


def fail_by_token(caller: Caller, text: str, error: BaseException | str) -> None:
    """The thing that a token is for has failed: see `Client.fail`."""
    if not isinstance(error, BaseException | str):
        raise TypeError(f"fail takes an exception or a text, not {error!r}")
    token, secret = _read(caller, text)
    failure = Failure.of(Exception(error) if isinstance(error, str) else error)
    data = failure.to_data(lambda details: caller.codec.encode(details, "details"))
    command = token.command
    if token.kind == PROMISE:
        _keep_promise(caller, token, secret, PromiseFailed(0, EPOCH, command, data))
    else:
        _end_attempt(caller, token, lambda n: ActivityFailed(0, EPOCH, command, data, n))


def _read(caller: Caller, text: str) -> tuple[Token, bytes]:
    secret = caller.repeat(caller.store.secret)
    return read_token(text, secret), secret


def _keep_promise(caller: Caller, token: Token, secret: bytes, event: Event) -> None:
    """Send the end of a promise to the run that waits for it.

    A retry copies a promise into the next run.  Its end is a message for one run alone, once:
    in another one the number of its command may be something else's.
    """
    text = token.text(secret)
    now = caller.repeat(caller.store.now)
    run = 0
    while (newest := _run_of(caller, token, text)) != run:
        run = newest
        message_id = message_ids.promise_done(text, None if run == token.run else run)
        message = Outgoing("", message_id, dump(event, now), uid=token.uid, run=run)
        sent = caller.send(message)
        if sent is not Sent.FINISHED:
            _check(sent, "the promise")
            return
    _check(Sent.FINISHED, "the promise")


def _run_of(caller: Caller, token: Token, text: str) -> int:
    """The newest run that has this promise."""
    run = token.run
    while any(
        isinstance(event, PromiseCreated) and event.token == text
        for event in caller.events(token.uid, run + 1)[1]
    ):
        run += 1
    return run


def _end_attempt(caller: Caller, token: Token, made: Callable[[int], Event]) -> None:
    """Give an activity its result; ``made`` makes the event from the attempt's number."""
    tasks = caller.repeat(lambda: caller.store.tasks(token.uid))
    numbers = [
        task.attempt
        for task in tasks
        if (task.run, task.command, task.epoch) == (token.run, token.command, token.epoch)
    ]
    event = dump(made(numbers[0] if numbers else 1), caller.repeat(caller.store.now))
    message_id = message_ids.attempt_done(token.run, token.command, token.epoch)
    done = Completion(token.uid, token.run, token.command, token.epoch, message_id, event)
    _check(caller.repeat(lambda: caller.store.settle(done)), "the attempt")


def _check(sent: Sent, what: str) -> None:
    if sent is Sent.NOT_FOUND:
        raise InstanceNotFound(f"{what} of this token has no instance any more: it was deleted")
    if sent is Sent.FINISHED:
        raise InstanceFinished(f"{what} of this token is over: nobody waits for it")
    if sent is Sent.FULL:
        raise UsageError(f"too many messages wait for the instance of {what}")


__all__ = ["complete_by_token", "fail_by_token"]
