"""What a figure depends on besides the store: versions, machine, settings that are not the defaults, fast paths."""

from __future__ import annotations

import os
import platform
import ssl
import sys
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from s3dlio._version import __version__
from s3dlio.config.settings import Settings, Shown
from s3dlio.hardware import (
    affinity_cpu_count,
    available_cpus,
    available_memory,
    cgroup_cpus,
    cgroup_memory,
    numa_nodes,
    total_cpus,
)
from s3dlio.memory.crc32c import has_native
from s3dlio.net.tls_chain import refusal

#: Packages that do work while operations run, where they are in use.
_PACKAGES = ("numpy", "google-crc32c", "zstandard", "boto3", "pyarrow", "azure-storage-blob", "google-cloud-storage",
             "mpi4py")  # fmt: skip


def environment(settings: Settings, shown: Iterable[Shown] | None = None) -> dict[str, Any]:
    """All of it as JSON has it; see docs/benchmarking.md. It has no secret.

    Args:
        settings: those in force.
        shown: the same, each with its value as people may see it; None: as the settings describe themselves.
    """
    told = settings.describe() if shown is None else shown
    return {
        "settings": {
            line.name: {"value": line.value, "origin": line.origin} for line in told if line.origin != "default"
        },
        "versions": _versions(), "machine": _machine(), "fast_paths": _fast_paths(settings),
    }  # fmt: skip


def _versions() -> dict[str, str | None]:
    found: dict[str, str | None] = {
        "s3dlio": __version__, "python": platform.python_version(), "implementation": platform.python_implementation(),
        "openssl": ssl.OPENSSL_VERSION,
    }  # fmt: skip
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


def _machine() -> dict[str, Any]:
    return {
        "host": platform.node(), "system": platform.system(), "kernel": platform.release(),
        "architecture": platform.machine(), "cpu": _cpu_model(), "cpus": total_cpus(), "affinity": affinity_cpu_count(),
        "quota": cgroup_cpus(), "usable_cpus": available_cpus(), "numa_nodes": len(numa_nodes()) or 1,
        "memory_bytes": _memory(), "memory_limit_bytes": cgroup_memory(), "available_memory_bytes": available_memory(),
    }  # fmt: skip


def _cpu_model() -> str:
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
            for line in file:
                if line.startswith(("model name", "Model")):
                    return line.partition(":")[2].strip()
    except OSError:
        pass  # another system than Linux
    return platform.processor()


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        return None


def _fast_paths(settings: Settings) -> dict[str, Any]:
    """Which of the ways that are quicker are open here, and why others are not."""
    tls = refusal() if settings.http.tls_direct else "http.tls_direct is off"
    huge = _first_line("/sys/kernel/mm/transparent_hugepage/enabled")
    return {
        "tls": "ssl" if tls else "direct", "tls_reason": tls, "crc32c": "native" if has_native() else "python",
        "transports": {
            "s3": settings.s3.backend, "az": settings.azure.backend, "gs": settings.gcs.backend
        },
        "adaptive": settings.transfer.adaptive, "processes": hasattr(os, "memfd_create"),
        "o_direct": hasattr(os, "O_DIRECT"), "huge_pages": huge[huge.find("[") + 1 : huge.find("]")] or None,
        "free_threading": not getattr(sys, "_is_gil_enabled", lambda: True)(),
    }  # fmt: skip


def _first_line(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.readline()
    except OSError:
        return ""


def lines(found: dict[str, Any]) -> list[str]:
    """The same for people."""
    settings, versions, machine, paths = (found[name] for name in ("settings", "versions", "machine", "fast_paths"))
    width = max(map(len, settings), default=0)
    told = [f"{name:<{width}}  {one['value']}  {one['origin']}" for name, one in settings.items()]
    shown = ", ".join(f"{name} {number}" for name, number in versions.items() if number and name != "implementation")
    quota = "" if machine["quota"] is None else f", quota of {machine['quota']:g}"
    memory = f"{machine['available_memory_bytes'] / 2**30:.1f} GiB of memory"
    return [
        *(told or ["settings: all are the defaults"]),
        f"versions: {shown}",
        f"machine: {machine['cpu'] or machine['architecture']}, {machine['cpus']} CPUs ({machine['affinity']} by "
        f"affinity{quota}), {memory}, {machine['system']} {machine['kernel']}",
        f"fast paths: TLS {paths['tls']}" + (f" ({paths['tls_reason']})" if paths["tls_reason"] else "")
        + f", CRC32C {paths['crc32c']}, huge pages {paths['huge_pages'] or 'unknown'}, transports "
        + ", ".join(f"{name} {transport}" for name, transport in paths["transports"].items()),
    ]  # fmt: skip
