"""As people write it who come from elsewhere."""

import dataclasses
import datetime
import typing

from durable import (
    ActivityError, Cancelled, PermanentError, Retry, TimeoutExpired, Workflow, activity,
    continue_as_new, current_activity, gather, info, now, patched, set_var, shield, sleep,
    timeout, wait_until, on_signal, workflow,
)

RETRY = Retry(max_attempts=10, first_delay=1, backoff=2, max_delay=30)
OPTIONS: dict[str, typing.Any] = {"timeout": 30, "retry": RETRY}


@dataclasses.dataclass
class Transfer:
    source: str
    target: str
    amount: int
    reference: str = ""


@dataclasses.dataclass
class State:
    approved: bool | None = None
    log: list[str] = dataclasses.field(default_factory=list)

    def note(self, text: str) -> None:
        self.log.append(f"{now():%H:%M} {text}")
        set_var("log", self.log)


@activity(**OPTIONS)
def withdraw(transfer: Transfer) -> str:
    if transfer.amount <= 0:
        raise PermanentError("amount")
    print(current_activity().attempt, datetime.datetime.now())
    return "w"


@activity(**OPTIONS)
def deposit(transfer: Transfer) -> str: ...


@activity
def refund(transfer: Transfer) -> None: ...


@workflow
def transfer_money(transfer: Transfer) -> Workflow[str]:
    state = State()
    on_signal("approve", lambda yes: setattr(state, "approved", yes))
    state.note("asked")
    try:
        with timeout(datetime.timedelta(days=1)):
            yield wait_until(lambda: state.approved is not None)
    except TimeoutExpired:
        state.note("nobody answered")
        return "expired"
    if not state.approved:
        return "refused"
    withdrawn = yield withdraw.call(transfer)
    try:
        deposited = yield deposit.options(retry=None).call(transfer)
    except ActivityError as error:
        state.note(f"deposit: {error.error.message if error.error else error}")
        yield refund.call(transfer)
        raise
    except Cancelled:
        with shield():
            yield refund.call(transfer)
            state.note("refunded")
        raise
    else:
        state.note("deposited")
    if patched("wait-a-little"):
        yield sleep(1)
    return f"{withdrawn}/{deposited}"


@workflow
def batch(transfers: list[Transfer], start: int = 0) -> Workflow[int]:
    page, rest = transfers[:100], transfers[100:]
    results = yield from gather(*(transfer_money.call(t) for t in page), return_exceptions=True)
    failed = sum(isinstance(result, BaseException) for result in results)
    if rest:
        return continue_as_new(rest, start + len(page))
    return start + len(page) - failed if info().run > 0 else failed
