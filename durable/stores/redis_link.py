"""Connections to a Redis server, and how a script is called over one.

Rules
-----
* The driver never repeats anything: a script whose reply was lost may have run.  Repeating
  is decided here, by the table in ``errors``.
* What fails while connecting was not sent.  What fails later is unknown, unless the server
  itself has answered that it did nothing; and a script that only reads did nothing anyway.
* Every read has a timeout: a server that is frozen must not freeze its clients.
* A pool keeps the connections; it makes new ones after a fork by itself.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Sequence
from typing import Any

from redis.backoff import NoBackoff
from redis.connection import ConnectionPool
from redis.exceptions import MovedError, NoScriptError, RedisError
from redis.retry import Retry

from durable.errors import DurableError, OutcomeUnknown, StoreError
from durable.store import Unavailable
from durable.stores.errors import ACTIONS, REDIS, Errors, Kind, redis_signs
from durable.stores.redis_keys import Script

__all__ = ["DEFAULT_TIMEOUT", "ERRORS", "Link", "NotSent", "options", "translated"]

DEFAULT_TIMEOUT = 10.0

FIRST_PAUSE, LONGEST_PAUSE = 0.002, 0.1

_PLACE = re.compile(r"^user_script:\d+: | script: [0-9a-f]{40}, on @user_script:\d+\.?$")
"""Where in a script something went wrong: for who reads the cause, not for the caller."""

ERRORS = Errors((RedisError, OSError), redis_signs, REDIS)


class NotSent(Exception):
    """Connecting raised ``error``."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(str(error))
        self.error = error


def options(timeout: float, answer: float | None) -> dict[str, Any]:
    """How connections are made. timeout: seconds to connect. answer: to wait for an answer."""
    return {
        "retry": Retry(NoBackoff(), 0),
        "retry_on_error": [],
        "socket_timeout": answer,
        "socket_connect_timeout": timeout,
        "socket_keepalive": True,
        "health_check_interval": 0,
        "decode_responses": False,
        "protocol": 2,
    }


def translated(error: BaseException, sent: bool, url: str, timeout: float) -> DurableError:
    """What the caller gets for an error of the driver. sent: something may have been changed."""
    kind = ERRORS.kind(error)
    raises = ACTIONS[kind].at_commit if sent else ACTIONS[kind].raises
    text = _PLACE.sub("", str(error)) or type(error).__name__
    if kind is Kind.RETRY_TXN:
        text += f" (for {timeout:g} seconds)"
    if raises is OutcomeUnknown:
        text += "; it is not known whether the call took effect"
    if not sent and kind is Kind.UNKNOWN:
        raises = Unavailable
    return raises(f"{url}: {text}")


class Link:
    """The way to one server.

    address: as redis-py wants it. url: the same to be shown. timeout: seconds to wait for an
    answer, and for which a call is repeated that the server could not serve.
    """

    def __init__(self, address: str, url: str, timeout: float) -> None:
        self._url = url
        self._timeout = timeout
        self._pool = ConnectionPool.from_url(address, **options(timeout, timeout))
        self._listening = ConnectionPool.from_url(address, **options(timeout, None))

    def listener(self) -> Any:
        """A connection of one's own, not connected, whose reads have no timeout."""
        return self._listening.make_connection()

    def close(self) -> None:
        """Close what nobody uses just now."""
        self._pool.disconnect(inuse_connections=False)

    def call(self, script: Script, *args: Any) -> Any:
        """Run a script. args: how many keys, the keys, the request and the rest."""
        return self._persist(lambda: self._run(script, args), reads=script.reads)

    def calls(self, script: Script, requests: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Run a script for each request: what it answers, or a `DurableError`."""
        answers: list[Any] = []
        for args in requests:
            try:
                answers.append(self.call(script, *args))
            except DurableError as error:
                answers.append(error)
        return answers

    def command(self, *args: Any, key: str | None = None) -> Any:
        """Run a command that changes nothing. key: what it looks at, if anything."""
        return self._persist(lambda: self._exchange(args), reads=True)

    def each(self, *args: Any) -> list[Any]:
        """Run a command that changes nothing on each server."""
        return [self.command(*args)]

    def forget(self) -> None:
        """In a forked child: begin anew."""

    # -- one attempt --------------------------------------------------------------------

    def _run(self, script: Script, args: tuple[Any, ...]) -> Any:
        try:
            return self._exchange(("EVALSHA", script.sha, *args))
        except NoScriptError:  # the server is new, or has forgotten
            return self._exchange(("EVAL", script.text, *args))

    def _exchange(self, args: tuple[Any, ...]) -> Any:
        try:
            connection: Any = self._pool.get_connection()
        except (RedisError, OSError) as error:
            raise NotSent(error) from error
        try:
            connection.send_command(*args)
            return connection.read_response()
        except BaseException as error:
            if not isinstance(error, RedisError) or ERRORS.action(error).drop:
                connection.disconnect()
            raise
        finally:
            self._pool.release(connection)

    # -- what is made of errors ---------------------------------------------------------

    def _persist(self, attempt: Any, *, reads: bool) -> Any:
        give_up: float | None = None
        pause = FIRST_PAUSE
        while True:
            try:
                return attempt()
            except NotSent as failed:
                error, sent = failed.error, False
            except ERRORS.caught as raised:
                error, sent = raised, not reads
            if isinstance(error, MovedError):
                raise StoreError(
                    f"{self._url}: this server is a node of a cluster: write redis+cluster://"
                ) from error
            give_up = give_up or time.monotonic() + self._timeout
            if not ERRORS.action(error).redo or time.monotonic() >= give_up:
                raise translated(error, sent, self._url, self._timeout) from error
            time.sleep(pause * random.uniform(0.5, 1.5))
            pause = min(pause * 1.5, LONGEST_PAUSE)
