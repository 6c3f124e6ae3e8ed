"""``# noqa``: which lines it excuses, and from what."""

from __future__ import annotations

import pytest

from durable.lint.checking import check_source

HEAD = "import time\nfrom durable import Workflow, sleep, workflow\n\n@workflow\ndef flow():\n"


def codes(body: str) -> list[str]:
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    return [each.code for each in check_source(f"{HEAD}{lines}    yield sleep(1)\n".encode())]


@pytest.mark.parametrize(
    "comment",
    [
        "# noqa",
        "#noqa",
        "# NOQA",
        "# noqa: DUR101",
        "# noqa:DUR101",
        "# noqa: E501,DUR101",
        "# noqa: E501 DUR101",
        "# noqa: dur101",
        "# noqa: DUR",
        "# noqa: DUR10 - this once",
        "# a reason  # noqa: DUR101",
        "# type: ignore[x]  # noqa: DUR101 — a reason",
    ],
)
def test_excused(comment: str) -> None:
    assert codes(f"time.time()  {comment}") == []


@pytest.mark.parametrize(
    "comment",
    ["", "# noqa: DUR102", "# noqa: E501", "# noqaDUR101", "# no qa", '; "# noqa"'],
)
def test_not_excused(comment: str) -> None:
    assert codes(f"time.time()  {comment}") == ["DUR101"]


def test_a_comment_counts_for_its_whole_statement() -> None:
    assert codes("x = (\n    time.time(),\n)  # noqa: DUR101") == []
    assert codes("x = (  # noqa: DUR101\n    time.time(),\n)") == []
    assert codes('x = """\n""" + str(time.time())  # noqa') == []


def test_a_comment_counts_for_no_other_statement() -> None:
    assert codes("# noqa\ntime.time()") == ["DUR101"]
    assert codes("time.time()\nx = 1  # noqa") == ["DUR101"]
    assert codes("for x in [1]:  # noqa\n    time.time()") == ["DUR101"]
    assert codes("time.time()\n# noqa") == ["DUR101"]


def test_a_comment_excuses_from_what_it_names_only() -> None:
    assert codes("print(time.time())  # noqa: DUR101") == ["DUR105"]
