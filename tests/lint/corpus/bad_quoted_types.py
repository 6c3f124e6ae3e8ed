from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

from durable import sleep, workflow

if TYPE_CHECKING:
    from durable import Workflow


def part() -> "Workflow[None]":
    yield sleep(1)


@workflow
def flow(path: "Path", other: Path | None, last: Annotated[Optional[Path], "here"]) -> "Workflow[str]":
    yield sleep(1)
    part()  # expect: DUR126 write `yield from part(…)`
    text = path.read_text()  # expect: DUR104 pathlib.Path().read_text()
    text += other.read_text()  # expect: DUR104 pathlib.Path().read_text()
    return text + last.read_text()  # expect: DUR104 pathlib.Path().read_text()
