"""Many keys in little memory, and their manifests, which spare listing."""

from __future__ import annotations

import json
import pickle
import random
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import s3dlio
from s3dlio.checkpoint.ranks import Ranks, job_ranks
from s3dlio.client import Client
from s3dlio.errors import ConfigError, IntegrityError, ObjectNotFoundError, S3dlioError, TransferTimeoutError
from s3dlio.launcher import launched_rank
from s3dlio.loader import key_listing, key_manifest, keys
from s3dlio.loader.dataset import Dataset
from s3dlio.loader.keys import BLOCK, KeyPacker, MemoryKeys, ahead


def sample_keys(count: int) -> MemoryKeys:
    packer = KeyPacker("memory://bucket/")
    packer.add([f"train/{number:07}.npz" for number in range(count)])
    return packer.finish()


class TestPacked:
    @given(
        pages=st.lists(
            st.lists(
                st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1), max_size=20
            ),
            max_size=20,
        )
    )
    @settings(max_examples=50, deadline=None)
    def test_any_names_in_any_order_are_sorted(self, pages: list[list[str]]) -> None:
        packer = KeyPacker("s3://bucket/")
        for page in pages:
            packer._pack(page, [len(name) for name in page])
        wanted = sorted("s3://bucket/" + name for page in pages for name in page)
        found = packer.finish()
        assert list(found) == wanted
        assert [found[position] for position in range(len(wanted))] == wanted

    def test_names_that_differ_in_a_number_take_three_bytes_at_most(self) -> None:
        found = sample_keys(100_000)
        assert len(found.data) < 3 * len(found)

    def test_positions_and_membership(self) -> None:
        found = sample_keys(3 * BLOCK + 5)
        assert found[-1] == f"memory://bucket/train/{3 * BLOCK + 4:07}.npz"
        assert found[BLOCK - 1 : BLOCK + 1] == [found[BLOCK - 1], found[BLOCK]]
        assert found[300] in found
        assert "memory://bucket/train/x" not in found
        assert 3 not in found
        with pytest.raises(IndexError, match="position 389 of 389"):
            found[3 * BLOCK + 5]

    def test_bytes_that_are_no_text_come_back(self) -> None:
        name = b"\xff\xfe.bin".decode("utf-8", "surrogateescape")
        packer = KeyPacker("file:///")
        packer.add([name])
        assert list(packer.finish()) == ["file:///" + name]

    def test_they_pickle_small(self) -> None:
        found = sample_keys(10_000)
        found.prepare(range(10_000))
        pickled = pickle.dumps(found)
        assert len(pickled) < 40_000
        assert list(pickle.loads(pickled)) == list(found)

    def test_few_are_a_list_and_many_are_not(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(keys, "_FEW", 100)
        for count, kind in ((100, list), (101, MemoryKeys)):
            packer = KeyPacker("r/")
            names = [f"{number:03}" for number in range(count)]
            for page in (names[50:], names[:50]):
                packer.add(page)
            assert len(packer) == count
            found, sizes = packer.uris()
            assert isinstance(found, kind)
            assert list(found) == ["r/" + name for name in names]
            assert sizes is None

    @pytest.mark.parametrize("most", [50, 100, 1000])
    def test_sizes_stay_with_their_names(self, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
        monkeypatch.setattr(keys, "_FEW", most)
        names = [f"{number:04}" for number in range(900)]
        packer = KeyPacker("r/")
        for first in (300, 0, 600):
            page = names[first : first + 300]
            packer.add(page[::-1], [int(name) for name in page[::-1]])
        found, sizes = packer.uris()
        assert list(found) == ["r/" + name for name in names]
        assert sizes is not None
        assert list(sizes) == list(range(900))

    def test_of_too_many_and_where_some_are_not_known_there_are_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(keys, "_FEW", 2)
        monkeypatch.setattr(keys, "_SIZED", 5)
        for pages in ([(["a", "b", "c"], [1, 2, 3]), (["d"], None)], [(list("abc"), [1] * 3), (list("def"), [1] * 3)]):
            packer = KeyPacker("r/")
            for names, known in pages:
                assert packer.wants_sizes
                packer.add(names, known)
            found, sizes = packer.uris()
            assert list(found) == ["r/" + name for some, _ in pages for name in some]
            assert sizes is None

    def test_a_damaged_block_is_found(self) -> None:
        found = sample_keys(1000)
        data = bytearray(found.data)
        data[len(data) // 2] ^= 16
        found.data = bytes(data)
        with pytest.raises(IntegrityError, match="block"):
            list(found)


@pytest.fixture
def client() -> Iterator[Client]:
    with Client() as client:
        yield client


@pytest.fixture
def root(tmp_path: Path) -> str:
    for number in range(40):
        path = tmp_path / "data" / f"{number % 4}" / f"{number:02}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"%d" % number)
    return (tmp_path / "data").as_uri() + "/"


class TestManifests:
    def test_a_data_set_of_one_lists_nothing(self, root: str, tmp_path: Path, client: Client) -> None:
        manifest = (tmp_path / "keys").as_uri()
        assert s3dlio.create_key_manifest(root, manifest) == 40
        listed = Dataset(root)
        (tmp_path / "data").rename(tmp_path / "elsewhere")
        for dataset in (
            Dataset.from_manifest(manifest),
            Dataset(root, {"manifest": manifest}),
            pickle.loads(pickle.dumps(Dataset.from_manifest(manifest, client=client))),
        ):
            assert dataset.uris() == listed.uris()
            assert dataset.keys() == listed.keys()
            assert dataset.identity

    def test_blocks_of_a_large_one_are_fetched_when_needed(
        self, tmp_path: Path, client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(key_manifest, "_SMALL", 0)
        monkeypatch.setattr(key_manifest, "_SHARD", 1000)
        monkeypatch.setattr(key_manifest, "LOCAL_SCHEMES", frozenset())  # keep blocks in a file, as of other stores
        found = sample_keys(20 * BLOCK + 7)
        base = (tmp_path / "keys").as_uri()
        key_manifest.write_manifest(found, base, client, key_manifest.Listed("memory://bucket/", None, 0))
        stored, _ = key_manifest.open_manifest(base, client)
        assert isinstance(stored, key_manifest.StoredKeys)
        order = random.Random(1).sample(range(len(found)), 2000)
        assert [stored[position] for position in ahead(order, stored)] == [found[position] for position in order]
        assert list(stored) == list(found)
        copied = pickle.loads(pickle.dumps(stored))
        shards = [path for path in tmp_path.glob("keys/keys-*/*") if path.name != "index"]
        assert len(shards) > 3
        for path in shards:
            path.unlink()
        assert stored[5] == found[5]  # fetched before
        stored._kept.clear()
        assert list(stored) == list(found)
        with pytest.raises(ObjectNotFoundError, match="0000"):
            copied[5]

    def test_a_full_disk_only_costs_requests(
        self, tmp_path: Path, client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(key_manifest, "_SMALL", 0)
        monkeypatch.setattr(key_manifest, "LOCAL_SCHEMES", frozenset())
        base = (tmp_path / "keys").as_uri()
        found = sample_keys(1000)
        key_manifest.write_manifest(found, base, client, key_manifest.Listed("memory://bucket/", None, 0))

        def full(*_: Any) -> int:
            raise OSError(28, "No space left on device")

        stored, _ = key_manifest.open_manifest(base, client)
        monkeypatch.setattr("os.pwrite", full)
        assert list(stored) == list(found)
        assert "No space left" in caplog.text

    def test_ranks_list_once(self, root: str, tmp_path: Path, client: Client) -> None:
        """The first one lists, the others wait; each has its part."""
        options = {"manifest": (tmp_path / "keys").as_uri(), "shard_world_size": 3}
        parts: dict[int, Dataset] = {}

        def make(rank: int) -> None:
            parts[rank] = Dataset(root, {**options, "shard_rank": rank})

        threads = [threading.Thread(target=make, args=(rank,)) for rank in (2, 1, 0)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [parts[rank].uris() for rank in range(3)] == [Dataset(root).uris()] * 3
        assert len({dataset.identity for dataset in parts.values()}) == 1

    def test_other_ranks_do_not_wait_where_nothing_is(self, tmp_path: Path) -> None:
        with pytest.raises(ObjectNotFoundError, match="nothing"):
            Dataset(
                (tmp_path / "nothing").as_uri() + "/",
                {"manifest": (tmp_path / "keys").as_uri(), "shard_rank": 1, "shard_world_size": 2},
            )

    def test_a_rank_that_waits_in_vain_says_so(
        self, root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(key_listing, "_PATIENCE", 0.0)
        with pytest.raises(TransferTimeoutError, match="rank 0 made no manifest"):
            Dataset(root, {"manifest": (tmp_path / "keys").as_uri(), "shard_rank": 1, "shard_world_size": 2})

    def test_a_manifest_of_something_else_is_refused(self, root: str, tmp_path: Path) -> None:
        manifest = (tmp_path / "keys").as_uri()
        s3dlio.create_key_manifest(root, manifest)
        with pytest.raises(ConfigError, match="is one of"):
            Dataset(root + "1/", {"manifest": manifest})

    def test_a_state_of_other_keys_is_refused(self, root: str, tmp_path: Path) -> None:
        manifests = [(tmp_path / name).as_uri() for name in ("one", "other")]
        s3dlio.create_key_manifest(root, manifests[0])
        (tmp_path / "data" / "0" / "00.bin").rename(tmp_path / "data" / "0" / "renamed.bin")
        s3dlio.create_key_manifest(root, manifests[1])
        one, other = (s3dlio.BytesLoader(Dataset.from_manifest(each), {"batch_size": 4}) for each in manifests)
        with pytest.raises(ConfigError, match=r"of another order: .*keys"):
            other.load_state_dict(one.state_dict())

    @pytest.mark.parametrize(
        "damage",
        [
            lambda head: head | {"keys": 1000}, lambda head: head | {"shards": [7]}, lambda head: head | {"bytes": 1},
            lambda head: {name: head[name] for name in head if name != "id"}, lambda head: [],
        ],
    )  # fmt: skip
    def test_a_damaged_one_is_refused(self, root: str, tmp_path: Path, damage: Any) -> None:
        manifest = tmp_path / "keys"
        s3dlio.create_key_manifest(root, manifest.as_uri())
        head = json.loads((manifest / "keys.json").read_text())
        (manifest / "keys.json").write_text(json.dumps(damage(head)))
        with pytest.raises(IntegrityError, match="manifest"):
            Dataset.from_manifest(manifest.as_uri())

    def test_one_of_a_later_release_is_refused(self, root: str, tmp_path: Path) -> None:
        manifest = tmp_path / "keys"
        s3dlio.create_key_manifest(root, manifest.as_uri())
        head = json.loads((manifest / "keys.json").read_text())
        (manifest / "keys.json").write_text(json.dumps(head | {"version": 2}))
        with pytest.raises(ConfigError, match="no manifest of keys that is known"):
            Dataset.from_manifest(manifest.as_uri())


class TestRanksThatAreTold:
    """With ``list_once``, rank 0 of ``torch.distributed`` lists for all."""

    @pytest.fixture
    def as_ranks(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], list[Any]]:
        """Runs a function as two ranks, each a thread, whose exchange is torch's."""

        def run(work: Callable[[], Any]) -> list[Any]:
            meet = threading.Barrier(2, timeout=20)
            said: list[Any] = [None, None]
            this = threading.local()

            def exchange(value: Any) -> list[Any]:
                said[this.rank] = pickle.dumps(value)
                meet.wait()
                return [pickle.loads(each) for each in said]

            def rank(number: int) -> Any:
                this.rank = number
                try:
                    return work()
                except Exception as error:
                    return error

            monkeypatch.setattr(key_listing, "job_ranks", lambda: Ranks(this.rank, 2, exchange))
            with ThreadPoolExecutor(2) as threads:
                return list(threads.map(rank, range(2)))

        return run

    def test_one_lists(self, root: str, as_ranks: Callable[..., list[Any]], monkeypatch: pytest.MonkeyPatch) -> None:
        listed = []
        inner = key_listing._listing


        def listing(*given: Any, **named: Any) -> Any:
            listed.append(given)
            return inner(*given, **named)

        monkeypatch.setattr(key_listing, "_listing", listing)
        one, other = as_ranks(lambda: Dataset(root, {"list_once": True}))
        assert one.uris() == other.uris() == Dataset(root).uris()
        assert one.keys() == other.keys() == Dataset(root).keys()
        assert len(listed) == 1 + 2

    def test_ranks_of_ones_own(self) -> None:
        given = Ranks(1, 2, lambda value: [{"result": (7, sample_keys(3)), "error": None}, value])
        dataset = Dataset("memory://bucket/", {"list_once": given})
        assert dataset.uris() == list(sample_keys(3))
        assert pickle.loads(pickle.dumps(dataset)).uris() == dataset.uris()

    def test_where_that_fails_all_do(self, tmp_path: Path, as_ranks: Callable[..., list[Any]]) -> None:
        one, other = as_ranks(lambda: Dataset((tmp_path / "nothing").as_uri() + "/", {"list_once": True}))
        assert isinstance(one, ObjectNotFoundError)
        assert isinstance(other, S3dlioError)
        assert "nothing is there" in str(other)


class TestRanksWithoutTorch:
    """MPI, and what launchers tell."""

    def test_the_ranks_of_mpi(self, monkeypatch: pytest.MonkeyPatch) -> None:
        world = SimpleNamespace(Get_rank=lambda: 1, Get_size=lambda: 3, allgather=lambda value: [value] * 3)
        mpi = SimpleNamespace(COMM_WORLD=world, Is_initialized=lambda: True, Is_finalized=lambda: False)
        monkeypatch.setitem(sys.modules, "mpi4py.MPI", mpi)
        ranks = job_ranks()
        assert (ranks.rank, ranks.world_size) == (1, 3)
        assert ranks.all_do(lambda: "x") == ["x"] * 3
        mpi.Is_finalized = lambda: True
        assert job_ranks().world_size == 1

    @pytest.mark.parametrize(
        ("rank", "of"),
        [("RANK", "WORLD_SIZE"), ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"), ("PMI_RANK", "PMI_SIZE"),
         ("SLURM_PROCID", "SLURM_NTASKS")],
    )  # fmt: skip
    def test_the_rank_that_a_launcher_tells_waits_for_the_manifest(
        self, root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rank: str, of: str
    ) -> None:
        monkeypatch.setattr(key_listing, "_PATIENCE", 0.0)
        manifest = {"manifest": (tmp_path / "keys").as_uri()}
        assert launched_rank() == (0, 1)
        monkeypatch.setenv(rank, "1")
        monkeypatch.setenv(of, "2")
        assert launched_rank() == (1, 2)
        with pytest.raises(TransferTimeoutError, match="rank 0 made no manifest"):
            Dataset(root, manifest)
        monkeypatch.setenv(rank, "0")
        assert Dataset(root, manifest).identity

    def test_a_job_in_which_none_can_tell_the_others_says_so(
        self, root: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setenv("SLURM_PROCID", "1")
        monkeypatch.setenv("SLURM_NTASKS", "4")
        assert Dataset(root, {"list_once": True}).uris() == Dataset(root).uris()
        assert "each of 4 ranks lists" in caplog.text
