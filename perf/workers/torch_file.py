"""torch.save and torch.load over one library's files: ``torch_file.py LIBRARY``, with jobs as lines of JSON."""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import torch


def opener(library: str) -> Callable[[str, str], Any]:
    """What opens a URI in a mode."""
    if library == "s3dlio":
        import s3dlio

        return s3dlio.open
    from s3torchconnector import S3Checkpoint, S3ClientConfig

    checkpoint = S3Checkpoint(
        region="us-east-1", endpoint=os.environ["AWS_ENDPOINT_URL"],
        s3client_config=S3ClientConfig(force_path_style=True),
    )  # fmt: skip
    return lambda uri, mode: checkpoint.reader(uri) if mode == "rb" else checkpoint.writer(uri)


def used() -> float:
    """CPU seconds of this process."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    opened = opener(sys.argv[1])
    print("ready", flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        tensors = job["tensors"]
        torch.serialization.set_crc32_options(job["crc"])
        state = {f"layer.{n}": torch.full((job["bytes"] // tensors // 4,), n + 0.5) for n in range(tensors)}
        found = {}
        for mode, name in (("wb", "save"), ("rb", "load")):
            cpu, begun = used(), time.perf_counter()
            with opened(job["uri"], mode) as file:
                if mode == "wb":
                    torch.save(state, file)
                else:
                    loaded = torch.load(file, weights_only=True)
            found[name] = {"wall": time.perf_counter() - begun, "cpu": used() - cpu}
        assert all(torch.equal(state[name], loaded[name]) for name in state)
        del loaded
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
