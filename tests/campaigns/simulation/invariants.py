"""What must always hold, each with a name. Checks are in `monitor` and `final`."""

from __future__ import annotations

INVARIANTS = {
    "I1": "a start that was acknowledged exists",
    "I2": "an instance ends at most once; its result is that of replaying its history",
    "I3": "each run has one start, its first event; runs are numbered without a gap",
    "I4": "what a history has recorded is what its replay asks for, in the same order",
    "I5": "histories are 0, 1, 2, …, only grow, and are never rewritten",
    "I6": "an acknowledged signal is in the history once, or in the inbox of an open instance",
    "I7": "the signals of one sender stay in the order in which they were sent",
    "I8": "no timer fires before its time, by the store's clock, or after it was cancelled",
    "I9": "a cancel happens once in a run",
    "I10": "an activity has one completion at most, and none without having been scheduled",
    "I11": "when faults stop, all ends or waits for what was not sent; nothing is orphaned",
    "I12": "what is recorded was executed, and again only because of a fault or of a stop",
    "I13": "what an earlier epoch writes changes nothing",
    "I14": "a signal from one workflow to another arrives once",
    "I15": "a transaction is stored whole or not at all: tasks, inbox and history agree",
    "I16": "unknown outcomes are resolved: what a client was told is what happened",
    "I17": "what has ended can be purged, nobody who is still wanted before who wants it",
}


class Violation(Exception):
    """An invariant does not hold."""

    def __init__(self, name: str, details: str) -> None:
        super().__init__(f"{name} ({INVARIANTS[name]}): {details}")
        self.name = name


def check(name: str, holds: object, *details: object) -> None:
    """Raise `Violation` if it does not hold; details are put into words only then."""
    if not holds:
        raise Violation(name, " ".join(map(str, details)))
