import time
from dataclasses import dataclass, field
from datetime import datetime as dt

from durable import ActivityError, Cancelled, Command, Workflow, activity, gather, workflow


@dataclass
class Trip:
    hotel: str
    booked_at: dt = field(default_factory=dt.now)


@activity
def book(name: str) -> str: ...


@activity
def cancel(name: str) -> None: ...


def compensate(undo: list[Command[None]]) -> Workflow[None]:
    for command in reversed(undo):
        yield command


@workflow
def trip(data: Trip) -> Workflow[str]:
    undo = []
    began = time.monotonic()  # expect: DUR101 time.monotonic() gives another time in each replay
    try:
        booked = yield book.call(data.hotel)
        undo.append(cancel.call(data.hotel))
        yield book.call("flight")
    except ActivityError:
        compensate(undo)  # expect: DUR126 compensate(…) does not run
        raise
    except Cancelled:
        yield from compensate(undo)  # expect: DUR124 after a cancel this yield only raises
        raise
    return f"{booked} in {time.monotonic() - began}"  # expect: DUR101 time.monotonic() gives another time in each replay


@workflow
def trip_by_list(names: list[str]) -> Workflow[str]:
    undo = []
    try:
        for name in names:
            yield book.call(name)
            undo.append(cancel.call(name))  # expect: DUR122 cancel.call(…) is not yielded, so nothing is done
    except ActivityError:
        return "failed"
    finally:
        yield cancel.call("all")  # expect: DUR124 after a cancel this yield only raises
    return "booked"


@workflow
def trip_that_hides(names: list[str]) -> Workflow[str]:
    try:
        yield gather(*[book.call(name) for name in names])
    except BaseException as error:  # expect: DUR131 except BaseException makes a failure of a cancel
        yield gather(*[cancel.call(name) for name in names])  # expect: DUR124 after a cancel this yield only raises
        raise RuntimeError("trip failed") from error
    return "booked"
