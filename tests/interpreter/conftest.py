"""What every test of the interpreter needs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from stepper import Stepper


@pytest.fixture(autouse=True)
def dropped() -> Iterator[None]:
    """Workflows are dropped after their test, as a worker does."""
    yield
    while Stepper.made:
        Stepper.made.pop().close()
