"""Distributed checkpoints of torch in one process: formats, regions, checksums, what fails and what stays then."""

from __future__ import annotations

import io
import os
import pickle
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: make finds no wheel without CUDA")

import torch.distributed.checkpoint as dcp  # noqa: E402
from torch.distributed.checkpoint.api import CheckpointException  # noqa: E402
from torch.distributed.checkpoint.planner import SavePlan  # noqa: E402

from s3dlio import Client  # noqa: E402
from s3dlio.checkpoint.dcp import S3dlioStorageReader, S3dlioStorageWriter  # noqa: E402
from s3dlio.checkpoint.dcp import metadata as metadata_file  # noqa: E402
from s3dlio.checkpoint.dcp.staging import ReusedStager  # noqa: E402
from s3dlio.errors import (  # noqa: E402
    AlreadyExistsError,
    CorruptDataError,
    IntegrityError,
    NetworkError,
    OutOfMemoryError,
)
from s3dlio.types import Observation  # noqa: E402
from tests.dcp_plans import read_regions  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:torch.distributed is disabled", "ignore:Detected an existing")


def state() -> dict[str, Any]:
    """Tensors of every sort, and what is none."""
    torch.manual_seed(7)
    made = torch.randn
    return {
        "weight": made(300, 257), "scalar": made(()), "empty": made(0, 4), "transposed": made(30, 20).t(),
        "bf16": made(33, 5).to(torch.bfloat16), "fp8": made(8, 8).to(torch.float8_e4m3fn), "bool": made(50) > 0,
        "complex": torch.complex(made(4, 4), made(4, 4)), "conjugated": torch.complex(made(3), made(3)).conj(),
        "int": torch.arange(1000), "view": made(100, 100)[10:20, 5:50], "sparse": made(5, 5).to_sparse(),
        "large": made(700, 700),
        "nested": {"step": 100, "name": "a run", "list": [made(3), 2.5]},
    }  # fmt: skip


def blank(value: Any) -> Any:
    """The same structure with other values."""
    if isinstance(value, torch.Tensor):
        if value.layout is not torch.strided:
            return torch.zeros(value.shape).to_sparse()
        return torch.zeros(value.shape, dtype=value.dtype)
    if isinstance(value, dict):
        return {name: blank(inner) for name, inner in value.items()}
    return [blank(inner) for inner in value] if isinstance(value, list) else None


def same(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, torch.Tensor):
        if wanted.dtype is torch.float8_e4m3fn:
            found, wanted = found.view(torch.uint8), wanted.view(torch.uint8)
        found, wanted = (t.to_dense() if t.layout is not torch.strided else t for t in (found, wanted))
        return found.dtype is wanted.dtype and torch.equal(found, wanted)
    if isinstance(wanted, dict):
        return found.keys() == wanted.keys() and all(same(found[name], wanted[name]) for name in wanted)
    if isinstance(wanted, list):
        return all(map(same, found, wanted))
    return bool(found == wanted)


def without_sparse() -> dict[str, Any]:
    """Torch loads no sparse tensor in place."""
    return {name: value for name, value in state().items() if name != "sparse"}


def the_error(raised: pytest.ExceptionInfo[CheckpointException]) -> BaseException:
    (failure,) = raised.value.failures.values()
    return failure[0]


@pytest.mark.parametrize(("writer", "reader"), [
    (S3dlioStorageWriter, S3dlioStorageReader),
    (S3dlioStorageWriter, dcp.FileSystemReader),
    (dcp.FileSystemWriter, S3dlioStorageReader),
])  # fmt: skip
def test_what_was_saved_is_loaded_and_torch_reads_and_writes_the_same_files(
    tmp_path: Path, writer: Any, reader: Any
) -> None:
    wanted = without_sparse()
    dcp.save(wanted, storage_writer=writer(str(tmp_path / "c")))
    found = blank(wanted)
    dcp.load(found, storage_reader=reader(str(tmp_path / "c")))
    assert same(found, wanted)


def test_the_checkpoint_id_of_torchs_functions_names_the_checkpoint(tmp_path: Path) -> None:
    writer, reader = S3dlioStorageWriter(tmp_path / "a"), S3dlioStorageReader(tmp_path / "a")
    for step in range(2):
        dcp.save({"t": torch.full((3,), float(step))}, checkpoint_id=f"{tmp_path}/{step}", storage_writer=writer)
    for step in range(2):
        found = {"t": torch.zeros(3)}
        dcp.load(found, checkpoint_id=f"file://{tmp_path}/{step}", storage_reader=reader)
        assert found["t"].tolist() == [step] * 3
    assert writer.checkpoint_id == f"file://{tmp_path}/1"
    assert not (tmp_path / "a").exists()


def test_a_checkpoint_that_is_there_stays_unless_it_is_to_be_replaced(tmp_path: Path) -> None:
    place = tmp_path / "c"
    dcp.save({"t": torch.ones(3)}, storage_writer=S3dlioStorageWriter(place))
    before = sorted(os.listdir(place))
    with pytest.raises(CheckpointException) as raised:
        dcp.save({"t": torch.zeros(3)}, storage_writer=S3dlioStorageWriter(place))
    assert isinstance(the_error(raised), AlreadyExistsError)
    assert sorted(os.listdir(place)) == before

    dcp.save({"t": torch.full((3,), 2.0)}, storage_writer=S3dlioStorageWriter(place, overwrite=True))
    found = {"t": torch.zeros(3)}
    dcp.load(found, storage_reader=S3dlioStorageReader(place))
    assert found["t"].tolist() == [2.0] * 3
    assert len(os.listdir(place)) == 2  # the objects of the first are gone


def test_of_two_that_save_at_once_one_is_told(tmp_path: Path) -> None:
    class Slow(S3dlioStorageWriter):
        def finish(self, metadata: Any, results: Any) -> None:
            dcp.save({"t": torch.ones(3)}, storage_writer=S3dlioStorageWriter(tmp_path))
            super().finish(metadata, results)

    with pytest.raises(CheckpointException) as raised:
        dcp.save({"t": torch.zeros(3)}, storage_writer=Slow(tmp_path))
    assert isinstance(the_error(raised), AlreadyExistsError)
    found = {"t": torch.zeros(3)}
    dcp.load(found, storage_reader=S3dlioStorageReader(tmp_path))
    assert found["t"].tolist() == [1.0] * 3


def names_of(client: Client, place: str) -> set[str]:
    return {uri.rpartition("/")[2] for uri in client.list(f"{place}/")}


def test_a_save_that_fails_at_its_end_leaves_nothing(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    place = "memory://dcp-left/a"
    dcp.save({"t": torch.ones(3)}, storage_writer=S3dlioStorageWriter(place, client=client))
    before = names_of(client, place)
    writer = S3dlioStorageWriter(place, client=client, overwrite=True)
    monkeypatch.setattr(writer, "_check_objects", Mock(side_effect=IntegrityError("it is short")))
    with pytest.raises(CheckpointException):
        dcp.save({"t": torch.zeros(3)}, storage_writer=writer)
    assert names_of(client, place) == before
    monkeypatch.undo()

    def other(*args: Any) -> None:
        dcp.save({"t": torch.full((3,), 2.0)}, storage_writer=S3dlioStorageWriter(place, client=client, overwrite=True))
        S3dlioStorageWriter._publish(writer, *args)

    monkeypatch.setattr(writer, "_publish", other)
    with pytest.raises(CheckpointException):
        dcp.save({"t": torch.zeros(3)}, storage_writer=writer)
    assert len(names_of(client, place)) == 2
    found = {"t": torch.zeros(3)}
    dcp.load(found, storage_reader=S3dlioStorageReader(place, client=client))
    assert found["t"].tolist() == [2.0] * 3


def test_metadata_whose_answer_got_lost_keep_their_objects(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    place = "memory://dcp-left/b"
    writer = S3dlioStorageWriter(place, client=client)

    def lost(*args: Any) -> None:
        S3dlioStorageWriter._publish(writer, *args)
        raise NetworkError("the answer got lost")

    monkeypatch.setattr(writer, "_publish", lost)
    with pytest.raises(CheckpointException):
        dcp.save({"t": torch.ones(3)}, storage_writer=writer)
    writer.close()
    found = {"t": torch.zeros(3)}
    dcp.load(found, storage_reader=S3dlioStorageReader(place, client=client))
    assert found["t"].tolist() == [1.0] * 3


@pytest.mark.parametrize("how", ["save", "close"])
def test_what_ranks_wrote_before_another_one_failed_is_removed_later(client: Client, how: str) -> None:
    """The coordinator's writer hears nothing of the failure."""
    place = f"memory://dcp-left/{how}"
    writer = S3dlioStorageWriter(place, client=client)
    writer.set_up_storage_writer(True)
    writer.prepare_local_plan(SavePlan([]))
    plans = writer.prepare_global_plan([SavePlan([]), SavePlan([])])
    for plan in plans:
        client.put_bytes(f"{place}/{plan.storage_data.prefix}.distcp", b"of a rank")
    client.put_bytes(f"{place}/__0_0.0123456789abcdef.distcp", b"of somebody else")
    if how == "close":
        writer.close()
        assert names_of(client, place) == {"__0_0.0123456789abcdef.distcp"}
        return
    dcp.save({"t": torch.ones(3)}, storage_writer=writer)
    assert len(names_of(client, place)) == 3
    assert not {f"{plan.storage_data.prefix}.distcp" for plan in plans} & names_of(client, place)


def test_one_bit_flipped_anywhere_that_is_read_is_found(tmp_path: Path) -> None:
    wanted = {"a": torch.arange(300.0), "b": torch.arange(200_000), "step": 7}
    dcp.save(wanted, storage_writer=S3dlioStorageWriter(tmp_path))
    found_wrong = 0
    for file in tmp_path.iterdir():
        good = file.read_bytes()
        for position in [*range(0, len(good), max(1, len(good) // 40)), len(good) - 1]:
            bad = bytearray(good)
            bad[position] ^= 1 << position % 8
            file.write_bytes(bad)
            found = {"a": torch.zeros(300), "b": torch.zeros(200_000, dtype=torch.int64), "step": 0}
            try:
                dcp.load(found, storage_reader=S3dlioStorageReader(tmp_path))
            except CheckpointException:
                found_wrong += 1
            else:  # around the bytes of a tensor are those by which torch's reader finds them
                assert file.name != ".metadata"
                assert same(found, wanted)
        file.write_bytes(good)
    assert found_wrong > 50


def _read(place: Path, client: Client, name: str, region: list[tuple[int, int]], into: Any, **options: Any) -> None:
    read_regions(S3dlioStorageReader(place, client=client, **options), {name: region}, into)


@pytest.fixture
def seen() -> Iterator[tuple[Client, list[Observation]]]:
    observations: list[Observation] = []
    with Client() as client:
        client.add_observer(observations.append)
        yield client, observations


@pytest.mark.parametrize("region", [
    [(0, 500), (0, 1000)], [(500, 1000), (0, 1000)], [(0, 1000), (0, 500)], [(123, 457), (900, 1000)],
    [(999, 1000), (999, 1000)], [(0, 1000), (0, 1000)],
])  # fmt: skip
@pytest.mark.parametrize("strided", [False, True])
def test_a_region_of_a_tensor_is_read_without_the_rest(
    tmp_path: Path, seen: tuple[Client, list[Observation]], region: list[tuple[int, int]], strided: bool
) -> None:
    client, observations = seen
    whole = torch.randn(1000, 1000)
    dcp.save({"t": whole}, storage_writer=S3dlioStorageWriter(tmp_path))
    (rows, columns) = region
    shape = rows[1] - rows[0], columns[1] - columns[0]
    into = torch.zeros(shape[0], shape[1] + 7)[:, 3:-4] if strided else torch.zeros(shape)
    _read(tmp_path, client, "t", region, into)
    assert torch.equal(into, whole[rows[0] : rows[1], columns[0] : columns[1]])
    reads = [each for each in observations if each.operation == "GET_RANGE"]
    if columns == (0, 1000):
        assert sum(each.bytes for each in reads) <= 1.1 * into.nbytes + (128 << 10)
    assert len(reads) <= 3


def test_a_damaged_block_of_a_region_is_found_and_one_outside_of_it_is_not_read(tmp_path: Path) -> None:
    whole = torch.zeros(64, 1 << 16)
    dcp.save({"t": whole}, storage_writer=S3dlioStorageWriter(tmp_path))
    (file,) = tmp_path.glob("*.distcp")
    data = bytearray(file.read_bytes())
    data[len(data) // 4] ^= 1
    file.write_bytes(data)
    with Client() as client:
        lower = torch.ones(32, 1 << 16)
        _read(tmp_path, client, "t", [(32, 64), (0, 1 << 16)], lower)
        assert not lower.any()
        with pytest.raises(IntegrityError, match="'t' is damaged"):
            _read(tmp_path, client, "t", [(0, 32), (0, 1 << 16)], lower)
        _read(tmp_path, client, "t", [(0, 32), (0, 1 << 16)], lower, verify=False)
        assert int(torch.count_nonzero(lower.view(torch.uint8))) == 1


def test_a_cut_file_and_a_missing_one_are_told(tmp_path: Path) -> None:
    dcp.save({"t": torch.zeros(1000)}, storage_writer=S3dlioStorageWriter(tmp_path))
    (file,) = tmp_path.glob("*.distcp")
    os.truncate(file, 3000)
    for error in (IntegrityError, FileNotFoundError):
        with pytest.raises(CheckpointException) as raised:
            dcp.load({"t": torch.zeros(1000)}, storage_reader=S3dlioStorageReader(tmp_path))
        found = the_error(raised)
        assert isinstance(found, error) or isinstance(found.__cause__, error)
        file.unlink(missing_ok=True)


class _Evil:
    def __reduce__(self) -> Any:
        return os.system, ("echo harm",)


@pytest.mark.parametrize("data", [
    pickle.dumps(_Evil()), b"", b"\x80", pickle.dumps({"a": 1}), pickle.dumps(torch.Size([1])),
])  # fmt: skip
def test_metadata_may_name_only_what_metadata_are_made_of(data: bytes) -> None:
    with pytest.raises(CorruptDataError):
        metadata_file.load(data, "file:///c/.metadata")


@pytest.mark.parametrize(("wrong", "kind"), [
    ({"length": None}, CorruptDataError), ({"length": 1.5}, CorruptDataError), ({"offset": -1}, CorruptDataError),
    ({"s3dlio": {"start": 1.0}}, CorruptDataError), ({"s3dlio": {"block": 131072.0}}, CorruptDataError),
    ({"s3dlio": {"crc32c": "abcd"}}, CorruptDataError), ({"s3dlio": {"shape": (10.0,)}}, CorruptDataError),
    ({"s3dlio": {"shape": (-1, -10)}}, CorruptDataError), ({"length": 1 << 46, "s3dlio": None}, OutOfMemoryError),
])  # fmt: skip
def test_metadata_that_make_no_sense_are_told(tmp_path: Path, wrong: dict[str, Any], kind: type[Exception]) -> None:
    dcp.save({"t": torch.zeros(10)}, storage_writer=S3dlioStorageWriter(tmp_path / "c"))
    path = tmp_path / "c" / ".metadata"
    metadata = metadata_file.load(path.read_bytes(), "")
    (info,) = metadata.storage_data.values()
    for name, value in wrong.items():
        setattr(info, name, {**info.s3dlio, **value} if isinstance(value, dict) else value)
    path.write_bytes(metadata_file.dump(metadata))
    with pytest.raises(CheckpointException) as raised:
        dcp.load({"t": torch.zeros(10)}, storage_reader=S3dlioStorageReader(tmp_path / "c"))
    assert isinstance(the_error(raised), kind)


def test_metadata_that_name_a_file_outside_of_the_checkpoint_are_refused(tmp_path: Path) -> None:
    place = tmp_path / "c"
    dcp.save({"t": torch.zeros(10)}, storage_writer=S3dlioStorageWriter(place))
    (file,) = place.glob("*.distcp")
    file.rename(tmp_path / "elsewhere")
    metadata = metadata_file.load((place / ".metadata").read_bytes(), "")
    for info in metadata.storage_data.values():
        info.relative_path = "../elsewhere"
    (place / ".metadata").write_bytes(metadata_file.dump(metadata))
    with pytest.raises(CheckpointException) as raised:
        dcp.load({"t": torch.zeros(10)}, storage_reader=S3dlioStorageReader(place))
    assert isinstance(the_error(raised), CorruptDataError)


def test_an_async_save_stores_what_was_there_when_it_was_called_and_uses_its_copy_again(tmp_path: Path) -> None:
    tensor = torch.zeros(1000)
    writer = S3dlioStorageWriter(tmp_path)
    copies = set()
    stage = writer.stage

    def staged(state_dict: dict[str, Any]) -> dict[str, Any]:
        found = stage(state_dict)
        copies.add(found["t"].data_ptr())
        return found

    writer.stage = staged
    saves = []
    for step in range(3):
        tensor.fill_(step)
        saves.append(dcp.async_save({"t": tensor}, checkpoint_id=f"{tmp_path}/{step}", storage_writer=writer))
    for save in saves:
        save.result()
    for step in range(3):
        found = {"t": torch.zeros(1000)}
        dcp.load(found, storage_reader=S3dlioStorageReader(tmp_path / str(step)))
        assert found["t"].unique().tolist() == [step]
    assert len(copies) == 1
    writer.close()


def test_the_next_asynchronous_save_may_begin_while_the_last_one_ends(tmp_path: Path) -> None:
    written, prepared = threading.Event(), threading.Event()

    class Writer(S3dlioStorageWriter):
        def finish(self, *args: Any, **kwargs: Any) -> None:
            if not written.is_set():
                written.set()
                assert prepared.wait(30)
            super().finish(*args, **kwargs)

    writer = Writer(tmp_path / "first")
    first = dcp.async_save({"t": torch.zeros(3)}, storage_writer=writer)
    assert written.wait(30)
    second = dcp.async_save({"t": torch.ones(3)}, checkpoint_id=tmp_path / "second", storage_writer=writer)
    prepared.set()
    first.result()
    second.result()
    for place, value in (("first", 0), ("second", 1)):
        found = {"t": torch.full((3,), 7.0)}
        dcp.load(found, storage_reader=S3dlioStorageReader(tmp_path / place))
        assert found["t"].tolist() == [value] * 3
    writer.close()


def test_a_save_that_failed_does_not_keep_the_staging_copy(tmp_path: Path) -> None:
    dcp.save({"t": torch.zeros(3)}, storage_writer=S3dlioStorageWriter(tmp_path / "there"))
    writer = S3dlioStorageWriter(tmp_path / "there")
    failed = dcp.async_save({"t": torch.ones(3)}, storage_writer=writer)
    assert isinstance(failed.exception(), CheckpointException)  # which is kept, with all that its frames refer to
    dcp.async_save({"t": torch.ones(3)}, checkpoint_id=tmp_path / "other", storage_writer=writer).result()


def test_a_stager_gives_a_copy_that_later_changes_leave_alone() -> None:
    stager = ReusedStager()
    tensor = torch.zeros(10)
    copy = stager.stage({"t": tensor, "n": {"step": 1}})
    tensor += 1
    assert not copy["t"].any()
    assert copy["n"] == {"step": 1}
    stager.close()


def test_a_writer_pickles_for_another_process(tmp_path: Path) -> None:
    writer = pickle.loads(pickle.dumps(S3dlioStorageWriter(tmp_path, client=Client(), part_size="8MiB")))
    dcp.save({"t": torch.ones(3)}, storage_writer=writer)
    found = {"t": torch.zeros(3)}
    dcp.load(found, storage_reader=S3dlioStorageReader(tmp_path))
    assert found["t"].tolist() == [1.0] * 3


def test_large_tensors_that_are_not_contiguous_are_copied_piece_by_piece() -> None:
    from s3dlio.checkpoint.dcp.items import pieces

    for tensor in (torch.randn(2000, 3000).t(), torch.randn(1, 2, 3_000_000)[:, :, ::2], torch.randn(40, 200_000).t()):
        found = list(pieces(tensor))
        assert len(found) > 1 or tensor.nbytes <= 16 << 20
        assert max(map(len, found)) <= 16 << 20
        assert b"".join(found) == tensor.contiguous().numpy().tobytes()


def test_torch_loads_an_item_alone(tmp_path: Path) -> None:
    tensor = torch.randn(10, 10)
    dcp.save({"t": tensor}, storage_writer=S3dlioStorageWriter(tmp_path))
    (file,) = tmp_path.glob("*.distcp")
    assert torch.equal(torch.load(io.BytesIO(file.read_bytes()), weights_only=True), tensor)


def test_prefixes_of_ranks_name_the_objects(tmp_path: Path) -> None:
    writer = S3dlioStorageWriter(tmp_path, prefix_strategy=lambda rank: f"{rank:04b}/epoch_1/__{rank}_")
    dcp.save({"t": torch.ones(3)}, storage_writer=writer)
    assert [str(path.parent.relative_to(tmp_path)) for path in tmp_path.rglob("*.distcp")] == ["0000/epoch_1"]
    found = {"t": torch.zeros(3)}
    dcp.load(found, storage_reader=S3dlioStorageReader(tmp_path))
    assert found["t"].tolist() == [1.0] * 3


def test_a_place_is_a_uri_or_a_path() -> None:
    for good in ("s3://bucket/a", "az://account/container/a", "gs://bucket/a", "file:///a", "/a/b", Path("a")):
        assert S3dlioStorageWriter.validate_checkpoint_id(good)
    for bad in ("ftp://a/b", "s3://", ""):
        assert not S3dlioStorageReader.validate_checkpoint_id(bad)


def test_an_upload_beside_the_trainer_runs_on_nice_threads_of_its_own(tmp_path: Path) -> None:
    nice: list[int] = []

    class Noting(S3dlioStorageWriter):
        def _write(self, *arguments: Any) -> Any:
            nice.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
            return super()._write(*arguments)

    here = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    writer = Noting(tmp_path)
    dcp.async_save({"t": torch.ones(3)}, checkpoint_id=tmp_path / "0", storage_writer=writer).result()
    dcp.save({"t": torch.ones(3)}, checkpoint_id=tmp_path / "1", storage_writer=writer)
    assert nice == [min(19, here + 15), here]
