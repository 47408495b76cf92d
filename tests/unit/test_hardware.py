"""What the machine gives this process: told as the kernel tells it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import s3dlio
from s3dlio import datagen, hardware
from s3dlio.errors import ConfigError


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of four CPUs for this process, with the files that tell of cgroups and nodes to be written."""
    for name, place in (("_CGROUPS", "cgroup"), ("_OWN_CGROUPS", "own"), ("_NODES", "node")):
        monkeypatch.setattr(hardware, name, tmp_path / place)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
    return tmp_path


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_without_limits(machine: Path) -> None:
    assert (hardware.affinity_cpu_count(), hardware.cgroup_cpus(), hardware.available_cpus()) == (4, None, 4)
    assert (hardware.numa_nodes(), hardware.is_numa_available(), hardware.recommended_threads()) == ({}, False, 4)


@pytest.mark.parametrize(("quota", "cpus"), [("max 100000", 4), ("150000 100000", 2), ("50000 100000", 1),
                                             ("900000 100000", 4)])  # fmt: skip
def test_the_quota_of_a_cgroup(machine: Path, quota: str, cpus: int) -> None:
    write(machine / "own", "0::/a/b\n")
    write(machine / "cgroup/a/b/cpu.max", quota + "\n")
    assert hardware.available_cpus() == datagen.default_data_gen_threads() == cpus


def test_a_quota_further_up_counts_too(machine: Path) -> None:
    write(machine / "own", "0::/a/b\n")
    write(machine / "cgroup/a/b/cpu.max", "300000 100000\n")
    write(machine / "cgroup/cpu.max", "200000 100000\n")
    assert hardware.available_cpus() == 2


def test_a_quota_of_version_1(machine: Path) -> None:
    write(machine / "own", "4:memory:/x\n3:cpu,cpuacct:/job\n0::/\n")
    write(machine / "cgroup/cpu,cpuacct/job/cpu.cfs_quota_us", "250000\n")
    write(machine / "cgroup/cpu,cpuacct/job/cpu.cfs_period_us", "100000\n")
    assert (hardware.cgroup_cpus(), hardware.available_cpus()) == (2.5, 3)
    write(machine / "cgroup/cpu,cpuacct/job/cpu.cfs_quota_us", "-1\n")
    assert hardware.cgroup_cpus() is None


@pytest.mark.parametrize(("own", "files", "limit"), [
    ("0::/a/b\n", {"a/b/memory.max": "max\n"}, None),
    ("0::/a/b\n", {"a/b/memory.max": "1073741824\n"}, 1 << 30),
    ("0::/a/b\n", {"a/b/memory.max": "max\n", "a/memory.max": "2147483648\n", "a/memory.high": "1048576\n"}, 1 << 20),
    ("4:memory:/job/step\n0::/\n", {"memory/job/step/memory.limit_in_bytes": "9223372036854771712\n",
                                   "memory/job/memory.limit_in_bytes": "536870912\n"}, 512 << 20),
    ("4:memory:/not/seen/here\n", {"memory/memory.limit_in_bytes": "1048576\n"}, 1 << 20),
])  # fmt: skip
def test_the_memory_of_a_cgroup(machine: Path, own: str, files: dict[str, str], limit: int | None) -> None:
    total = hardware.available_memory()
    write(machine / "own", own)
    for name, text in files.items():
        write(machine / "cgroup" / name, text)
    assert hardware.cgroup_memory() == limit
    assert hardware.available_memory() == (total if limit is None else limit)


def test_numa_nodes(machine: Path) -> None:
    write(machine / "node/node0/cpulist", "0-1,8\n")
    write(machine / "node/node10/cpulist", "12\n")
    write(machine / "node/possible", "0,10\n")
    assert hardware.numa_nodes() == {0: {0, 1, 8}, 10: {12}}
    assert hardware.is_numa_available()
    assert hardware.recommended_threads(numa_node=0) == 2
    assert hardware.recommended_threads(max_threads=1) == 1
    with pytest.raises(ConfigError, match=r"no NUMA node 3.*\[0, 10\]"):
        hardware.recommended_threads(numa_node=3)
    with pytest.raises(ConfigError, match="may not run on the CPUs of NUMA node 10"):
        s3dlio.GeneratorConfig(10, numa_node=10)


def test_it_is_found_at_the_package() -> None:
    assert s3dlio.hardware is hardware
    assert hardware.get_affinity_cpu_count() >= hardware.available_cpus() >= 1
    assert hardware.total_cpus() >= 1
    assert hardware.parse_cpu_list("") == frozenset()
