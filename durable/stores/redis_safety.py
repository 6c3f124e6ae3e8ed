"""What Redis servers promise of what they have acknowledged: their settings tell."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from durable.errors import StoreError

__all__ = ["durability", "refuse_losses", "version"]

logger = logging.getLogger("durable.store")

WANTED: Mapping[str, tuple[str, ...]] = {
    "appendonly": ("yes",),
    "appendfsync": ("always", "everysec"),
    "maxmemory-policy": ("noeviction",),
}

TIERS = ("volatile", "unknown", "prefix", "durable")
"""The weakest first."""


def durability(link: Any) -> str:
    """What becomes of what was acknowledged: ``durable`` (it survives a power failure),
    ``prefix`` (a crash may take the last second), ``volatile`` (all of it may go) or
    ``unknown`` (the server does not tell its settings).  Of several servers, the weakest."""
    return min((_tier(settings) for settings in _settings(link)), key=TIERS.index)


def _tier(settings: Mapping[str, str]) -> str:
    if not settings:
        return "unknown"
    if settings.get("appendonly") != "yes" or settings.get("maxmemory-policy") != "noeviction":
        return "volatile"
    return {"always": "durable", "everysec": "prefix"}.get(settings["appendfsync"], "volatile")


def _settings(link: Any) -> list[dict[str, str]]:
    """The settings of each server; of one that does not let its users look, none."""
    try:
        found = [(name, link.each("CONFIG", "GET", name)) for name in WANTED]
    except StoreError as error:
        if isinstance(error.__cause__, Exception) and "CONFIG" in str(error.__cause__).upper():
            return [{}]
        raise
    servers = len(found[0][1])
    return [
        {name: pairs[n][1].decode() for name, pairs in found if pairs[n]} for n in range(servers)
    ]


def refuse_losses(link: Any, url: str) -> None:
    """Raises `StoreError` if a server may forget without a crash; warns if a crash may take
    what was acknowledged last."""
    all_settings = _settings(link)
    for settings in all_settings:
        for name, values in WANTED.items():
            found = settings.get(name, values[0])
            if found not in values:
                raise StoreError(
                    f"{url}: the server has {name} {found}, so it may lose what it has"
                    f" acknowledged; set {name} {values[0]}, or accept that with ?allow_loss=yes"
                )
    if any(settings.get("appendfsync") == "everysec" for settings in all_settings):
        logger.warning(
            "%s: appendfsync is everysec: a crash may take what was acknowledged last", url
        )


def version(link: Any) -> str:
    """The program and its version; of several servers, the first of them in the alphabet."""
    told = [info.decode() for info in link.each("INFO", "server")]
    return min(f"Redis {text.partition('redis_version:')[2].split()[0]}" for text in told)
