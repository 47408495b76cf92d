"""What the machine gives this process: CPUs (affinity, cgroup), memory, NUMA nodes, and how many threads that is."""

from __future__ import annotations

import functools
import math
import os

from s3dlio.errors import ConfigError

_CGROUPS = "/sys/fs/cgroup"
_OWN_CGROUPS = "/proc/self/cgroup"
_NODES = "/sys/devices/system/node"


def affinity_cpu_count() -> int:
    """How many CPUs this process may run on (taskset, cpusets, pinning)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cgroup_cpus() -> float | None:
    """How many CPUs' worth of time the process's cgroups, and those above them, allow; None: no limit."""
    limits = [limit for group in _own_groups("cpu") if (limit := _cpu_limit(group)) is not None]
    return min(limits, default=None)


def available_cpus() -> int:
    """How many CPUs this process can keep busy: those that it may run on, or fewer where its cgroup has a quota."""
    return _within(affinity_cpu_count(), cgroup_cpus())


def _within(allowed: int, quota: float | None) -> int:
    return allowed if quota is None else max(1, min(allowed, math.ceil(quota)))


@functools.cache
def _quota_at_first() -> float | None:
    return cgroup_cpus()


_sharing = 1


def share_cpus(processes: int) -> None:
    """So many processes, of which this is one, share the CPUs: it uses its part of them from now on."""
    global _sharing
    _sharing = processes


def usable_cpus() -> int:
    """As :func:`available_cpus`, by the affinity of now and the quota of the first call: quick enough for any batch.
    A process that shares them with others has its part."""
    return -(-_within(affinity_cpu_count(), _quota_at_first()) // _sharing)


def cgroup_memory() -> int | None:
    """How many bytes of memory the process's cgroups, and those above them, allow; None: no limit."""
    files = ("memory.max", "memory.high", "memory.limit_in_bytes")
    found = (_text_of(f"{group}/{name}") for group in _own_groups("memory") for name in files)
    return min((int(text) for text in found if text.isdecimal()), default=None)


def available_memory() -> int:
    """How many bytes of memory this process can have: the machine's, or less where its cgroup has a limit."""
    try:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        total = 8 << 30
    limit = cgroup_memory()
    return total if limit is None else min(total, limit)


def total_cpus() -> int:
    """How many CPUs the machine has, whether this process may use them or not."""
    return os.cpu_count() or 1


def numa_nodes() -> dict[int, frozenset[int]]:
    """The NUMA nodes of the machine, each with its CPUs; empty where the system does not tell."""
    found = {}
    names = os.listdir(_NODES) if os.path.isdir(_NODES) else []
    for name in names:
        number = name.removeprefix("node")
        if number != name and number.isdecimal() and (text := _text_of(f"{_NODES}/{name}/cpulist")):
            found[int(number)] = parse_cpu_list(text)
    return dict(sorted(found.items()))


def is_numa_available() -> bool:
    """Whether the machine has several NUMA nodes."""
    return len(numa_nodes()) > 1


def cpus_of_node(node: int) -> frozenset[int]:
    """The CPUs of a NUMA node on which this process may run.

    Raises:
        ConfigError: there is no such node, or the process may not run there.
    """
    nodes = numa_nodes()
    if node not in nodes:
        raise ConfigError(f"there is no NUMA node {node!r}", hint=f"this machine has {sorted(nodes) or 'none'}")
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else nodes[node]
    if not nodes[node] & allowed:
        raise ConfigError(f"this process may not run on the CPUs of NUMA node {node}", hint="widen its affinity")
    return nodes[node] & allowed


def recommended_threads(numa_node: int | None = None, max_threads: int | None = None) -> int:
    """How many threads of computing work this process can keep busy.

    Args:
        numa_node: count the CPUs of this node only.
        max_threads: at most so many.

    Raises:
        ConfigError: as of :func:`cpus_of_node`.
    """
    cpus = available_cpus()
    if numa_node is not None:
        cpus = min(cpus, len(cpus_of_node(numa_node)))
    return cpus if max_threads is None else max(1, min(cpus, max_threads))


def parse_cpu_list(text: str) -> frozenset[int]:
    """The numbers in a list as Linux writes them: ``0-3,8,10-11``."""
    cpus: set[int] = set()
    for part in filter(None, (part.strip() for part in text.split(","))):
        first, _, last = part.partition("-")
        cpus.update(range(int(first), int(last or first) + 1))
    return frozenset(cpus)


# Names of the Rust package's module.
get_affinity_cpu_count = affinity_cpu_count
recommended_data_gen_threads = recommended_threads


def _own_groups(controller: str) -> list[str]:
    """The directories of this process's cgroups that may limit what ``controller`` has, and of all above them."""
    found: list[str] = []
    for line in _text_of(_OWN_CGROUPS).splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            tops = [f"{_CGROUPS}", f"{_CGROUPS}/unified"]  # version 2
        elif controller in controllers.split(","):
            tops = [f"{_CGROUPS}/{controllers}", f"{_CGROUPS}/{controller}"]  # version 1
        else:
            continue
        own = path.strip("/")
        while own:
            found += [f"{top}/{own}" for top in tops]
            own = own.rpartition("/")[0]
        found += tops
    return found


def _cpu_limit(group: str) -> float | None:
    quota, _, period = _text_of(f"{group}/cpu.max").partition(" ")
    if not quota:
        quota, period = _text_of(f"{group}/cpu.cfs_quota_us"), _text_of(f"{group}/cpu.cfs_period_us")
    if not (quota.isdecimal() and period.isdecimal() and int(period)):
        return None  # "max", -1, or no such file
    return int(quota) / int(period)


def _text_of(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""
