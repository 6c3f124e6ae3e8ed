"""What `Retry` takes, and what it refuses with the way to mend it."""

from __future__ import annotations

import math
from typing import Any

import pytest

from durable import Retry
from durable.errors import DurableError, UsageError


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ((), ()),
        (("ValueError", KeyError), ("ValueError", "KeyError")),
        ([DurableError], ("durable.errors.DurableError",)),
        ({ValueError}, ("ValueError",)),
        ((KeyboardInterrupt,), ("KeyboardInterrupt",)),
    ],
)
def test_classes_that_end_it_are_kept_by_name(given: Any, names: tuple[str, ...]) -> None:
    retry = Retry(non_retryable=given)
    assert retry.non_retryable == names
    assert Retry.from_data(retry.to_data()) == retry


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"non_retryable": "ValueError"}, TypeError, r"write non_retryable=\('ValueError',\)"),
        ({"non_retryable": ValueError}, TypeError, r"write non_retryable=\(ValueError,\)"),
        ({"non_retryable": 5}, TypeError, r"takes a tuple, such as .*, not 5"),
        ({"non_retryable": None}, TypeError, r"takes a tuple, such as .*, not None"),
        ({"non_retryable": (int,)}, TypeError, r"<class 'int'> is neither"),
        ({"non_retryable": (5,)}, TypeError, r"5 is neither"),
        ({"non_retryable": ("",)}, TypeError, r"'' is neither"),
        ({"non_retryable": (ValueError("x"),)}, TypeError, r"is neither"),
        ({"max_attempts": "3"}, TypeError, r"a whole number, or None, not '3'"),
        ({"max_attempts": 2.5}, TypeError, r"a whole number, or None, not 2\.5"),
        ({"max_attempts": True}, TypeError, r"a whole number, or None, not True"),
        ({"max_attempts": 0}, UsageError, r"must be at least 1"),
        ({"backoff": "2"}, TypeError, r"Retry\(backoff=\) takes a number, not '2'"),
        ({"backoff": True}, TypeError, r"Retry\(backoff=\) takes a number"),
        ({"backoff": math.inf}, UsageError, r"at least 1, and finite"),
        ({"backoff": math.nan}, UsageError, r"at least 1, and finite"),
        ({"backoff": 0.5}, UsageError, r"at least 1, and finite"),
        ({"jitter": None}, TypeError, r"Retry\(jitter=\) takes a number, not None"),
        ({"jitter": math.nan}, UsageError, r"between 0 and 1"),
        ({"jitter": 1.5}, UsageError, r"between 0 and 1"),
        ({"first_delay": "1"}, TypeError, r"Retry\(first_delay=\) takes seconds"),
        ({"max_delay": math.inf}, ValueError, r"the longest duration is 100 years"),
    ],
)
def test_what_makes_no_sense_is_refused(
    options: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        Retry(**options)
