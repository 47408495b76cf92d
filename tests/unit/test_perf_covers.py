"""Every verb of a client has a benchmark."""

from __future__ import annotations

import re
from pathlib import Path

from s3dlio.client import Client

BENCHMARKS = Path(__file__).parents[2] / "perf" / "bench_s3.py"
#: What is no verb on objects or containers, what select and the others are made of, and other names of one verb.
NO_VERBS = {
    "add_observer", "remove_observer", "close", "close_loops", "close_processes", "reconfigure", "store_for", "select",
    "get_endpoint_stats", "get_total_stats",
}  # fmt: skip
WRITERS = {"create_writer", "get_writer", "get_writer_with_compression"} | {
    f"create_{kind}_writer" for kind in ("s3", "azure", "gcs", "filesystem", "direct_filesystem")
}


def test_every_verb_has_a_benchmark() -> None:
    source = BENCHMARKS.read_text(encoding="utf-8")
    measured = set(re.findall(r"(?:nginx|moto|nginx_tls)\.(\w+)|\"(list_\w+)\"", source))
    names = {name for pair in measured for name in pair if name}
    verbs = {name for name in dir(Client) if not name.startswith("_") and callable(getattr(Client, name))}
    assert verbs - names - NO_VERBS - WRITERS == set()
