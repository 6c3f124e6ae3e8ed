"""The ids of messages.

An inbox takes a message with a given id once.  So an id that follows from what the message
says makes a repeated one harmless, whoever writes it, and however often.  Ids of what people
send (a signal, a cancel) are random, and made once for all the repetitions of a call.

Numbers of commands begin anew with each run, which is why ids have the run beside them.
"""

from __future__ import annotations


def activity_done(run: int, command: int) -> str:
    """The result of an activity, from the worker that ran it."""
    return f"done:{run}:{command}"


def activity_cancelled(run: int, command: int) -> str:
    """An activity was cancelled, by the store or by the worker that ran it."""
    return f"cancelled:{run}:{command}"


def attempt_done(run: int, command: int, epoch: int) -> str:
    """The result of an attempt, from somebody who has its token."""
    return f"token:{run}:{command}:{epoch}"


def promise_done(token: str, copied_to: int | None = None) -> str:
    """The end of a promise. A retry copies promises into another run, where those that are
    still open can be completed once again."""
    return f"promise:{token}" if copied_to is None else f"promise:{token}:{copied_to}"


def is_promise_done(message_id: str, token: str) -> bool:
    """Whether a message is the end of the promise with this token."""
    return message_id.startswith(promise_done(token))


def id_taken(run: int, command: int) -> str:
    """A child could not be started: its id is in use."""
    return f"taken:{run}:{command}"


def child_done(child: bytes, run: int) -> str:
    """The end of a child, from the child. child: its uid. run: its own."""
    return f"child:{child.hex()}:{run}"


def child_looked_up(run: int, command: int) -> str:
    """The end of a child, from the store, for a run that has missed it."""
    return f"looked-up:{run}:{command}"


def child_cancel(uid: bytes, run: int, command: int) -> str:
    """A run of the instance ``uid`` asks a child to stop."""
    return f"{uid.hex()}:{run}:{command}:cancel"


def child_close(uid: bytes, run: int) -> str:
    """A run of the instance ``uid`` has ended, and its children with it."""
    return f"close:{uid.hex()}:{run}"


def signal_sent(uid: bytes, run: int, command: int) -> str:
    """A signal from one workflow to another instance."""
    return f"{uid.hex()}:{run}:{command}"


def answer(message_id: str) -> str:
    """What became of a message that was sent, for its sender."""
    return f"answer:{message_id}"


def retried(token: str) -> str:
    """The event with which a retry begins. token: of the call."""
    return f"{token}:retried"


def applied_again(token: str, seq: int) -> str:
    """An event of the run before, which a retry applies again. token: of the call."""
    return f"{token}:{seq}"


def late(token: str, place: int) -> str:
    """What came too late for the run that a retry follows. token: of the call."""
    return f"{token}:late:{place}"


def forked(token: bytes) -> str:
    """The event with which a fork begins. token: of the call."""
    return f"forked:{token.hex()}"
