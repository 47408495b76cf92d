"""Every verb of a client has a benchmark."""

from __future__ import annotations

import re
from pathlib import Path

from s3dlio.client import Client

BENCHMARKS = Path(__file__).parents[2] / "perf" / "bench_s3.py"
#: What is no verb on objects or containers, and what select and the others are made of.
NO_VERBS = {"add_observer", "remove_observer", "close", "close_processes", "reconfigure", "store_for", "select"}


def test_every_verb_has_a_benchmark() -> None:
    source = BENCHMARKS.read_text(encoding="utf-8")
    measured = set(re.findall(r"(?:nginx|moto|nginx_tls)\.(\w+)|\"(list_\w+)\"", source))
    names = {name for pair in measured for name in pair if name}
    verbs = {name for name in dir(Client) if not name.startswith("_") and callable(getattr(Client, name))} - NO_VERBS
    assert verbs - names == set()
