"""The keys of a Redis store, and its scripts.

A partition is a fixed number of tables, each under one key; all keys of a partition have the
same tag in braces, so that they live in one slot of a cluster.  What stands in a table is
said at the top of ``redis_scripts/library.lua``, once: every script is given all tables of
its partition, and makes no key of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha1
from importlib.resources import files
from zlib import crc32

__all__ = ["CHANNEL", "SCRIPTS", "TABLES", "Script", "partition_of", "tables"]

TABLES = (
    "ids",
    "instances",
    "payloads",
    "history",
    "inbox",
    "messages",
    "receipts",
    "tasks",
    "task_inputs",
    "task_index",
    "due",
    "ready",
    "held",
    "blocked",
    "listed",
    "ended",
    "tagged",
    "children",
    "workers",
    "leases",
    "outbox",
    "outgoing",
    "kin",
    "settings",
    "changes",
)
"""In the order in which the library takes them."""

CHANNEL = "changes"

NAMES = (
    *("create", "send", "terminate", "pause", "resume", "unblock", "rerun", "delete", "purge"),
    "erase",
    *("ended", "wanted", "remove", "expect", "accept", "clear"),
    *("register", "awaken", "heartbeat", "beat", "take_over", "block_unknown"),
    *("claim", "owned", "adopt", "release", "commit", "complete", "settle"),
    *("read", "list", "locate", "history", "waiting", "tasks", "workers", "stats"),
    *("prepare", "rights"),
)

LIBRARIES = ("library", "finds", "outbox")
"""What every script begins with."""

CHECK = b"""
if ARGV[5] ~= redis.sha1hex(redis.call('HGET', SETTINGS, 'secret') or '') then
  error('this is not the store that was opened: it was emptied, or the server is another one')
end
"""
"""A server that has lost all it had takes what comes as if it were new. ARGV[5]: of the store
that was opened."""

MAKERS = frozenset({"prepare", "erase"})
"""The scripts for a store that may not be there."""
LIVES = frozenset(
    {"create", "send", "terminate", "rerun", "delete", "purge", "commit"}
    | {"wanted", "remove", "accept"}
)
"""Scripts that need the library ``lives``, too; each call makes all functions of its script anew,
so the others do without."""

BEGIN, END = b"local function verb()\n", b"end\nreturn {NOW, verb() or false, lanes_shown()}\n"
"""Around the verb: each answer comes with its moment, and with what is to be carried from the
outbox."""

READS = frozenset(
    {"owned", "read", "list", "locate", "history", "waiting", "tasks", "workers", "stats"}
    | {"ended", "wanted"}
)


TAKES = frozenset({"claim", "adopt", "heartbeat", "beat", "clear", "prepare", "rights"})
"""After these nothing more is due than before."""


@dataclass(frozen=True, slots=True)
class Script:
    """A transition in Lua. sha: by which the server finds it. reads: it changes nothing.
    takes: nothing more is due after it."""

    name: str
    text: bytes
    sha: str
    reads: bool
    takes: bool


def _scripts() -> Mapping[str, Script]:
    folder = files("durable.stores") / "redis_scripts"
    shared = b"".join((folder / f"{name}.lua").read_bytes() for name in LIBRARIES)
    lives = (folder / "lives.lua").read_bytes()
    scripts = {}
    for name in NAMES:
        text = (
            shared
            + (lives if name in LIVES else b"")
            + (b"" if name in MAKERS else CHECK)
            + BEGIN
            + (folder / f"{name}.lua").read_bytes()
            + END
        )
        sha = sha1(text, usedforsecurity=False).hexdigest()
        scripts[name] = Script(name, text, sha, name in READS, name in TAKES)
    return scripts


SCRIPTS = _scripts()


def tables(prefix: str, partition: int) -> dict[str, str]:
    """The keys of a partition, by table."""
    return {table: f"{{{prefix}:{partition}}}:{table}" for table in TABLES}


def partition_of(id: str, partitions: int) -> int:
    """Where the instance with this id is."""
    return crc32(id.encode()) % partitions
