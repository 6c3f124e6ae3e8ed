"""One workflow a row: charge, wait for an approval, ship.

    durable run examples/orders.py:process_order '"o-1"' 500 --id order-1
    durable signal order-1 approve '"bob"'                      # in a second terminal

    python examples/orders.py [REPORT]       # all of orders.csv, on a store in memory

The second way starts one instance a row, approves those that have an approver, and writes
their results to a report, by an activity that may be repeated.
"""

import csv
import sys
from datetime import timedelta
from pathlib import Path

from durable import Orchestrator, Retry, Workflow, activity, race, sleep, wait_signal, workflow


@activity(retry=Retry(max_attempts=5, first_delay=1.0), timeout=30)
def charge(order_id: str, cents: int) -> str:
    return f"receipt-{order_id}"


@activity
def ship(order_id: str) -> str:
    return f"shipped-{order_id}"


@workflow
def process_order(order_id: str, cents: int) -> Workflow[str]:
    yield charge.call(order_id, cents)
    answer = yield race(approved=wait_signal("approve"), expired=sleep(timedelta(hours=24)))
    if answer.name == "expired":
        return "expired"
    return (yield from ship.call(order_id))


# -- a batch -----------------------------------------------------------------------------


@activity
def append_line(path: str, key: str, line: str) -> bool:
    """Append ``key line`` to a file, once: an attempt that is repeated finds its key there.

    Gives whether it wrote.  The last line has no end if a crash cut it short: it is dropped.
    """
    file = Path(path)
    text = file.read_text("utf-8") if file.exists() else ""
    whole = text[: text.rfind("\n") + 1]
    if any(written.split(" ", 1)[0] == key for written in whole.splitlines()):
        return False
    if whole != text:
        file.write_text(whole, "utf-8")
    with file.open("a", encoding="utf-8") as stream:
        stream.write(f"{key} {line}\n")
    return True


@workflow
def write_report(path: str, results: dict[str, str]) -> Workflow[int]:
    """Gives the number of lines that were written."""
    written = 0
    for order_id, result in results.items():
        written += yield from append_line.call(path, order_id, result)
    return written


def main(report: str) -> None:
    with Path(__file__).with_name("orders.csv").open(encoding="utf-8", newline="") as file:
        _, *rows = csv.reader(file)
    with Orchestrator("memory://", [sys.modules[__name__]]) as here:
        client = here.client
        client.start_many(
            (process_order.options(id=f"order-{order_id}", if_exists="use"), order_id, int(cents))
            for order_id, cents, _ in rows
        )
        approved = {order_id: approver for order_id, _, approver in rows if approver}
        for order_id, approver in approved.items():
            client.signal(f"order-{order_id}", "approve", approver)
        results = {
            order_id: client.get(f"order-{order_id}").result(timeout=60) for order_id in approved
        }
        lines = client.start(write_report, report, results).result(timeout=60)
        waiting = client.count(workflow="process_order", status="running")
        print(f"{len(rows)} orders: {len(approved)} shipped, {waiting} wait for an approval")
        print(f"{lines} lines written to {report}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "report.txt")
