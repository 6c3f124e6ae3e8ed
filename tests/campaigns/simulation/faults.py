"""Which faults happen, and how many did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from random import Random

FAULTS = {
    "crash before": "the process dies before the call reaches the store",
    "crash after": "the process dies before the answer reaches it",
    "zombie": "the process is stopped, often past its lease, and goes on with the call",
    "unavailable": "the store cannot be reached, and says so",
    "unknown, lost": "the outcome is unknown; the call never reached the store",
    "unknown, applied": "the outcome is unknown; the call was applied",
    "unknown, late": "the outcome is unknown; the call is under way, and is applied later",
    "twice": "the call is applied, and once more later",
    "slow": "the call takes seconds, so that it is overtaken by others",
    "busy": "what is to be changed is in the hands of somebody else: a part is left out",
    "no hint": "a waiting process is not told that the store has changed",
    "skew": "the clocks of processes are wrong by up to 40 s, and go wrong by up to a tenth",
}
"""Kinds of faults, in words."""

RATES = {
    "crash before": 0.004,
    "crash after": 0.004,
    "zombie": 0.012,
    "unavailable": 0.02,
    "unknown, lost": 0.012,
    "unknown, applied": 0.02,
    "unknown, late": 0.015,
    "twice": 0.015,
    "slow": 0.03,
    "busy": 0.02,
}
"""Faults of one call, at each call."""

WRITES = frozenset(
    (
        *("create", "send", "terminate", "pause", "resume", "unblock", "rerun", "register"),
        *("heartbeat", "beat", "unregister", "take_over", "block_unknown", "claim", "adopt"),
        *("release", "commit", "complete", "settle"),
    )
)
BUSY = frozenset(("commit", "complete"))
"""Calls that may leave out what is in other hands."""

OFTEN = frozenset(
    ("create", "send", "claim", "adopt", "commit", "complete", "settle", "rerun", "pause", "resume")
)
"""Calls at which faults are three times as frequent: the others are mostly heartbeats."""

STORM = 6
"""Faults seldom come alone: for so many calls they are so many times as frequent."""

SECONDS = 1_000_000


class Faults:
    """Of one run. Each kind is off in half of the runs: constant faults hide deep states.

    without: kinds that are off in any case.
    """

    def __init__(self, random: Random, without: Collection[str] = ()) -> None:
        chosen = [kind for kind in FAULTS if random.random() < 0.5]
        self.kinds = [kind for kind in chosen if kind not in without]
        self.random = random
        self.active = True
        self.counts: Counter[str] = Counter()
        self._storm = 0  # calls that are left of it
        self._rates = [(kind, RATES[kind]) for kind in self.kinds if kind in RATES]

    def at_call(self, verb: str) -> str:
        """The fault that befalls a call, or nothing."""
        dice = self.random.random()
        if not self.active:
            return ""
        if verb in OFTEN:
            dice /= 3
        if self._storm:
            self._storm -= 1
            dice /= STORM
        for kind, rate in self._rates:
            dice -= rate
            if dice < 0:
                if verb not in WRITES and kind in ("unknown, lost", "unknown, late", "twice"):
                    kind = "unavailable"
                if verb not in BUSY and kind == "busy":
                    return ""
                self.counts[kind] += 1
                if self.random.random() < 0.3:
                    self._storm = STORM
                return kind
        return ""

    def happens(self, kind: str, rate: float) -> bool:
        """Whether a fault that is none of a call happens now."""
        dice = self.random.random()
        if not self.active or kind not in self.kinds or dice >= rate:
            return False
        self.counts[kind] += 1
        return True

    def latency(self, kind: str) -> int:
        """Microseconds that a call is under way."""
        if kind == "slow":
            return self.random.randrange(6 * SECONDS)
        return 1 + int(4_000 * self.random.random() ** 3)

    def disturbed(self) -> int:
        """How many of the faults may make an activity run again."""
        return sum(n for kind, n in self.counts.items() if kind not in ("no hint", "twice", "busy"))
