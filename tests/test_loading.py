"""Modules by name and by file."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from durable.errors import UsageError
from durable.loading import load_module, split_target


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    modules = dict(sys.modules)
    yield
    sys.modules.clear()
    sys.modules.update(modules)


def write(name: str, text: str = "x = 1\n") -> None:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_text(text)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("orders", ("orders", None)),
        ("shop.orders:order", ("shop.orders", "order")),
        ("shop/orders.py:order", ("shop/orders.py", "order")),
    ],
)
def test_targets(target: str, expected: tuple[str, str | None]) -> None:
    assert split_target(target) == expected


@pytest.mark.parametrize("target", [":order", "orders:"])
def test_wrong_targets(target: str) -> None:
    with pytest.raises(UsageError, match="MODULE:WORKFLOW"):
        split_target(target)


def test_the_current_directory_is_on_the_path() -> None:
    write("loading_a.py")
    assert load_module("loading_a").x == 1


def test_a_package() -> None:
    write("loading_shop/__init__.py", "")
    write("loading_shop/orders.py")
    assert load_module("loading_shop.orders").x == 1


@pytest.mark.parametrize("name", ["deep/loading_b.py", "./deep/loading_b.py", "deep/loading_b"])
def test_a_file_and_its_neighbours(name: str) -> None:
    write("deep/loading_b.py", "from loading_c import x\n")
    write("deep/loading_c.py")
    assert load_module(name).x == 1


def test_a_file_whose_name_is_taken() -> None:
    write("json.py")
    with pytest.raises(UsageError, match="name 'json' is taken by"):
        load_module("json.py")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("loading_nowhere", r"there is no module 'loading_nowhere'"),
        ("loading_nowhere.orders", r"'loading_nowhere' is not there"),
        ("loading_shp", r"did you mean loading_shop.py\?"),
        ("nowhere.py", r"there is no file .*/nowhere.py"),
        ("my-orders.py", r"'my-orders' is no name in Python"),
        ("", "neither the name of a module"),
        (".orders", "neither the name of a module"),
        ("a b", "neither the name of a module"),
    ],
)
def test_what_is_not_there(name: str, said: str, tmp_path: Path) -> None:
    write("loading_shop.py")
    write("my-orders.py")
    with pytest.raises(UsageError, match=said) as caught:
        load_module(name)
    if "no module" in said:
        assert f"current directory: {tmp_path}" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said", "note"),
    [
        ("import loading_gone", "it imports 'loading_gone'", "import loading_gone"),
        ("def f():\n    1 / 0\nf()", "ZeroDivisionError: division by zero", "1 / 0"),
        ("def f(:\n", "SyntaxError", "def f(:"),
        ("raise SystemExit(3)", r"SystemExit\(3\)", "raise SystemExit(3)"),
    ],
)
def test_what_fails(text: str, said: str, note: str) -> None:
    write("loading_bad.py", text)
    with pytest.raises(UsageError, match=said) as caught:
        load_module("loading_bad")
    (shown,) = caught.value.__notes__
    assert note in shown
    assert "loading_bad.py" in shown
    assert "importlib" not in shown
    assert "durable/loading" not in shown
