"""Copies to a GPU and back, beside torch's own: ``python -m perf.gpu [--size MIB] [--folder FOLDER]``.

For a machine with an NVIDIA GPU and torch with CUDA. Files lie in memory (``/dev/shm``) unless a folder is named. Every
row was compared byte by byte before it is printed; the best of a few runs counts.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import s3dlio
from s3dlio import gpu

MIB = 1 << 20
GB = 1e9


def seconds(torch: Any, call: Callable[[], Any], runs: int = 5) -> float:
    """The time of the best of some runs, after one that does not count."""
    best = float("inf")
    for run in range(runs + 1):
        torch.cuda.synchronize()
        begin = time.perf_counter()
        call()
        torch.cuda.synchronize()
        if run:
            best = min(best, time.perf_counter() - begin)
    return best


def copies(torch: Any, folder: Path) -> None:
    """A view to the device: >= 0.95 of torch's copy of memory that it has pinned."""
    size = 256 * MIB
    path = folder / "copy"
    host = torch.randint(0, 256, (size,), dtype=torch.uint8)
    path.write_bytes(memoryview(host.numpy()))
    pinned = host.pin_memory()
    target = torch.empty(size, dtype=torch.uint8, device="cuda")
    view = s3dlio.get(path)
    assert gpu.to_device(view).equal(target.copy_(host)), "the bytes differ"
    own = seconds(torch, lambda: target.copy_(pinned, non_blocking=True))
    pageable = seconds(torch, lambda: target.copy_(host))
    ours = seconds(torch, lambda: gpu.to_device(view))
    print(f"copy, {size // MIB} MiB: torch pinned {size / own / GB:.1f} GB/s, pageable {size / pageable / GB:.1f}, "
          f"to_device(view) {size / ours / GB:.1f}: {own / ours:.2f} of torch's pinned (wanted: >= 0.95)")  # fmt: skip
    first = s3dlio.get(path)
    begin = time.perf_counter()
    gpu.to_device(first)
    print(f"  the first copy of fresh memory, which is pinned for it: {(time.perf_counter() - begin) * 1e3:.1f} ms")


def tensors(torch: Any, folder: Path, size: int) -> None:
    """load_safetensors: <= 1.15 of the longer of reading and copying, with 512 MiB pinned at most; and saving."""
    width = 4096
    model = {f"layer.{number}": torch.rand(width, width) for number in range(max(1, size // (4 * width * width)))}
    model |= {f"norm.{number}": torch.rand(width) for number in range(100)}
    s3dlio.save_safetensors(model, folder / "model")
    total = sum(tensor.nbytes for tensor in model.values())
    found = gpu.load_safetensors(folder / "model")
    assert all(found[name].cpu().equal(tensor) for name, tensor in model.items()), "the tensors differ"
    pinned = gpu.pinned_bytes()
    assert pinned <= gpu.MAX_PINNED, f"{pinned} bytes are pinned"
    del found
    host = torch.rand(64 * MIB // 4).pin_memory()
    bus = total / host.nbytes * seconds(torch, lambda: host.to("cuda", non_blocking=True))
    fetch = seconds(torch, lambda: s3dlio.load_safetensors(folder / "model"), 3)
    ours = seconds(torch, lambda: gpu.load_safetensors(folder / "model"), 3)
    print(f"load_safetensors, {total // MIB} MiB: {ours:.2f} s, {total / ours / GB:.1f} GB/s; host {fetch:.2f}, "
          f"the bus alone {bus:.2f}: {ours / max(fetch, bus):.2f} of the longer (wanted: <= 1.15); "
          f"{pinned // MIB} MiB pinned (wanted: <= 512)")  # fmt: skip
    found = gpu.load_safetensors(folder / "model")
    back = seconds(torch, lambda: s3dlio.save_safetensors(found, folder / "back", overwrite=True), 2)
    assert all(
        (folder / "back" / file.name).read_bytes() == file.read_bytes() for file in (folder / "model").iterdir()
    ), "the files differ"
    plain = seconds(torch, lambda: s3dlio.save_safetensors(model, folder / "back", overwrite=True), 2)
    print(f"save_safetensors from the device: {back:.3f} s; from the host {plain:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=2048, help="MiB of the model")
    parser.add_argument("--folder", default="/dev/shm", help="where the files lie")
    given = parser.parse_args()
    import torch

    if not torch.cuda.is_available():
        raise SystemExit("torch has no GPU here")
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, s3dlio {s3dlio.__version__}")
    folder = Path(tempfile.mkdtemp(dir=given.folder))
    try:
        copies(torch, folder)
        tensors(torch, folder, given.size * MIB)
        gpu.release()
        assert not gpu.pinned_bytes(), "memory stays pinned"
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
