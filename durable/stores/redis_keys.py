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
    "settings",
    "changes",
)
"""In the order in which the library takes them."""

CHANNEL = "changes"

NAMES = (
    *("create", "send", "terminate", "pause", "resume", "unblock", "rerun", "delete", "purge"),
    "erase",
    *("register", "awaken", "heartbeat", "beat", "take_over", "block_unknown"),
    *("claim", "owned", "adopt", "release", "commit", "complete", "settle"),
    *("read", "list", "history", "waiting", "tasks", "workers", "stats", "prepare", "rights"),
)

LIBRARIES = ("library", "finds", "lives")
"""What every script begins with."""

CHECK = b"""
if ARGV[3] ~= redis.sha1hex(redis.call('HGET', SETTINGS, 'secret') or '') then
  error('this is not the store that was opened: it was emptied, or the server is another one')
end
"""
"""A server that has lost all it had takes what comes as if it were new. ARGV[3]: of the store
that was opened."""

MAKERS = frozenset({"prepare", "erase"})
"""The scripts for a store that may not be there."""

BEGIN, END = b"local function verb()\n", b"end\nreturn {NOW, verb() or false}\n"
"""Around the verb: each answer comes with its moment."""

READS = frozenset({"owned", "read", "list", "history", "waiting", "tasks", "workers", "stats"})


@dataclass(frozen=True, slots=True)
class Script:
    """A transition in Lua. sha: by which the server finds it. reads: it changes nothing."""

    name: str
    text: bytes
    sha: str
    reads: bool


def _scripts() -> Mapping[str, Script]:
    folder = files("durable.stores") / "redis_scripts"
    shared = b"".join((folder / f"{name}.lua").read_bytes() for name in LIBRARIES)
    scripts = {}
    for name in NAMES:
        check = b"" if name in MAKERS else CHECK
        text = shared + check + BEGIN + (folder / f"{name}.lua").read_bytes() + END
        sha = sha1(text, usedforsecurity=False).hexdigest()
        scripts[name] = Script(name, text, sha, name in READS)
    return scripts


SCRIPTS = _scripts()


def tables(prefix: str, partition: int) -> dict[str, str]:
    """The keys of a partition, by table."""
    return {table: f"{{{prefix}:{partition}}}:{table}" for table in TABLES}


def partition_of(id: str, partitions: int) -> int:
    """Where the instance with this id is."""
    return crc32(id.encode()) % partitions
