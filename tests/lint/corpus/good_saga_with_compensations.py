"""Books a trip; what was booked is cancelled if a later step fails."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

from durable import ActivityError, Cancelled, Command, Retry, Workflow, activity, shield, workflow

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trip:
    trip_id: str
    hotel: str
    flight: str


@dataclass
class Saga:
    """What has to be undone, the last one first."""

    undo: list[tuple[str, Command[None]]] = field(default_factory=list)

    def add(self, name: str, command: Command[None]) -> None:
        self.undo.append((name, command))

    def compensate(self) -> Workflow[list[str]]:
        failed = []
        for name, command in reversed(self.undo):
            try:
                with shield():
                    yield command
            except ActivityError:
                failed.append(name)
        return failed


@activity(retry=Retry(max_attempts=5), timeout=timedelta(seconds=30).total_seconds())
def book_hotel(trip: Trip) -> str:
    log.info("booking %s", trip.hotel)
    return f"hotel-{trip.hotel}"


@activity
def cancel_hotel(trip: Trip) -> None:
    log.info("cancelling %s", trip.hotel)


@activity
def book_flight(trip: Trip) -> str:
    return f"flight-{trip.flight}"


@activity
def cancel_flight(trip: Trip) -> None: ...


@workflow(name="trip", version=3)
def book_trip(trip: Trip) -> Workflow[dict[str, str]]:
    saga = Saga()
    booked: dict[str, str] = {}
    try:
        saga.add("hotel", cancel_hotel.call(trip))
        booked["hotel"] = yield from book_hotel.call(trip)
        saga.add("flight", cancel_flight.call(trip))
        booked["flight"] = yield from book_flight.call(trip)
    except (ActivityError, Cancelled):
        yield from saga.compensate()
        raise
    return booked


@workflow
def book_trip_by_hand(trip: Trip) -> Workflow[str]:
    compensations: list[Callable[[], Command[None]]] = []
    try:
        compensations.append(lambda: cancel_hotel.call(trip))
        yield book_hotel.call(trip)
        compensations.append(lambda: cancel_flight.call(trip))
        yield book_flight.call(trip)
    except BaseException:
        while compensations:
            undo = compensations.pop()
            with shield():
                yield undo()
        raise
    return trip.trip_id
