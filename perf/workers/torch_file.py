"""Tensors saved and loaded by one library: ``torch_file.py LIBRARY``, with jobs as lines of JSON."""

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


def safetensors_of(library: str, opened: Callable[[str, str], Any]) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """What saves and loads a dictionary of tensors as safetensors."""
    if library == "s3dlio":
        import s3dlio

        return lambda state, uri: s3dlio.save_safetensors(state, uri, overwrite=True), s3dlio.load_safetensors
    import safetensors.torch

    def save(state: dict[str, Any], uri: str) -> None:
        with opened(uri, "wb") as file:
            file.write(safetensors.torch.save(state))

    def load(uri: str) -> Any:
        with opened(uri, "rb") as file:
            return safetensors.torch.load(file.read())

    return save, load


def pickles_of(opened: Callable[[str, str], Any]) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """What saves and loads by torch itself."""

    def save(state: dict[str, Any], uri: str) -> None:
        with opened(uri, "wb") as file:
            torch.save(state, file)

    def load(uri: str) -> Any:
        with opened(uri, "rb") as file:
            return torch.load(file, weights_only=True)

    return save, load


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
        torch.serialization.set_crc32_options(job.get("crc", True))
        is_torch = job.get("format") != "safetensors"
        save, load = pickles_of(opened) if is_torch else safetensors_of(sys.argv[1], opened)
        state = {f"layer.{n}": torch.full((job["bytes"] // tensors // 4,), n + 0.5) for n in range(tensors)}
        found = {}
        loaded: Any = None
        for name in ("save", "load"):
            cpu, begun = used(), time.perf_counter()
            if name == "save":
                save(state, job["uri"])
            else:
                loaded = load(job["uri"])
            found[name] = {"wall": time.perf_counter() - begun, "cpu": used() - cpu}
        assert all(torch.equal(state[name], loaded[name]) for name in state)
        del loaded
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
