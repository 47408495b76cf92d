"""Options of the command line as keyword arguments of the library."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import Any


def given_keywords(args: argparse.Namespace, names: Iterable[str]) -> dict[str, Any]:
    """Those of ``names`` that were given, by the names that the options have here as there."""
    given = vars(args)
    found = {name: given[name] for name in names if given.get(name) not in (None, [])}
    return found | {name: dict(found[name]) for name in ("metadata", "tags") if name in found}
