"""s3dlio in DLIO: the classes that a configuration names, over stand-ins of DLIO's, and what is put into a DLIO."""

from __future__ import annotations

import enum
import importlib
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

import s3dlio
from s3dlio.integrations import dlio
from s3dlio.integrations.dlio import _multipart_config as multipart
from s3dlio.integrations.dlio.names import uri_of

PACKAGE = "s3dlio.integrations.dlio"


class MetadataType(enum.Enum):
    FILE = "file"
    DIRECTORY = "directory"


class Base:
    """What is common to DLIO's base classes, as far as it is called: abstract methods do nothing."""

    def __init__(self, *given: Any) -> None:
        self.given = given
        self._args = ARGS
        self.open_file_map: dict[str, Any] = {}

    open = close = get_sample = lambda self, *given: None


class BaseDataLoader(Base):
    def __init__(self, format_type: Any, dataset_type: Any, epoch: int, data_loader_type: Any) -> None:
        super().__init__()
        self.dataset_type, self.epoch_number, self.batch_size = dataset_type, epoch, ARGS.batch_size

    def next(self) -> None: ...


class FormatReader(Base):
    def preprocess(self) -> None: ...


class StorageFactory:
    @staticmethod
    def get_storage(storage_type: Any, namespace: str, framework: Any = None) -> Any:
        return ("DLIO's own", namespace)


class Generator:
    """Writes two files to the paths that its storage names, as NPZGenerator does."""

    def __init__(self) -> None:
        self.storage = StorageFactory.get_storage("s3", ARGS.storage_root)

    def generate(self) -> None:
        self.storage.create_node("data/train/", exist_ok=True)
        for number in range(2):
            np.savez(self.storage.get_uri(f"data/train/{number}.npz"), x=np.full((2, 2, 2), number), y=[0])


class GeneratorFactory:
    @staticmethod
    def get_generator(type: Any) -> Any:
        return Generator()


class PyTorchCheckpointing(Base):
    def get_name(self, suffix: str) -> str:
        return os.path.join(ARGS.checkpoint_folder, f"{suffix}.pt")


ARGS = SimpleNamespace()
STAND_INS: dict[str, dict[str, Any]] = {
    "dlio_benchmark.common.enumerations": {
        "MetadataType": MetadataType,
        "NamespaceType": SimpleNamespace(FLAT="flat"),
        "DataLoaderType": SimpleNamespace(PYTORCH="pytorch"),
        "DatasetType": SimpleNamespace(TRAIN="train", VALID="valid"),
        "Shuffle": SimpleNamespace(OFF="off", SEED="seed", RANDOM="random"),
    },
    "dlio_benchmark.storage.storage_handler": {
        "DataStorage": Base,
        "Namespace": lambda name, type: SimpleNamespace(name=name, type=type),
    },
    "dlio_benchmark.storage.storage_factory": {"StorageFactory": StorageFactory},
    "dlio_benchmark.data_generator.generator_factory": {"GeneratorFactory": GeneratorFactory},
    "dlio_benchmark.reader.reader_handler": {"FormatReader": FormatReader},
    "dlio_benchmark.data_loader.base_data_loader": {"BaseDataLoader": BaseDataLoader},
    "dlio_benchmark.checkpointing.pytorch_checkpointing": {"PyTorchCheckpointing": PyTorchCheckpointing},
    "hydra.experimental.callback": {"Callback": object},
}
OURS = ("callback", "checkpointing", "data_loader", "reader", "s3_torch_storage", "s3dlio_storage")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A storage root, in a DLIO that is made of stand-ins."""
    for name, members in STAND_INS.items():
        parts = name.split(".")
        for depth in range(1, len(parts)):
            monkeypatch.setitem(sys.modules, ".".join(parts[:depth]), ModuleType(parts[depth - 1]))
        module = ModuleType(name)
        vars(module).update(members)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(StorageFactory, "get_storage", staticmethod(StorageFactory.get_storage))
    monkeypatch.setattr(GeneratorFactory, "get_generator", staticmethod(GeneratorFactory.get_generator))
    root = f"direct://{tmp_path}/root"
    vars(ARGS).update(
        storage_options=None, storage_root=root, format="npz", batch_size=2, prefetch_size=0, seed=1,
        sample_shuffle="off", resized_image=np.zeros((4, 4), np.uint8), checkpoint_folder=f"{root}/ck",
        train_file_map={}, val_file_map={}, train_global_index_map={}, val_global_index_map={},
    )  # fmt: skip
    yield root
    for name in OURS:
        sys.modules.pop(f"{PACKAGE}.{name}", None)


def load(module: str, name: str) -> Any:
    return getattr(importlib.import_module(f"{PACKAGE}.{module}"), name)


def mangled(uri: str) -> str:
    """What DLIO makes of a name."""
    return os.path.abspath(uri)


def test_names_that_dlio_took_for_paths_are_uris_again() -> None:
    for uri in ("s3://bucket/a/b.npz", "az://account/container/a", "file:///tmp/a", "direct:///tmp/a/b c"):
        assert uri_of(mangled(uri)) == uri_of(uri) == uri
    assert uri_of("/data/1.npz") == "file:///data/1.npz"
    assert uri_of("ck/1.pt") == f"file://{Path.cwd()}/ck/1.pt"


@pytest.mark.parametrize("of", [("s3dlio_storage", "S3dlioStorage"), ("s3_torch_storage", "S3PyTorchConnectorStorage")])
def test_a_storage(root: str, of: tuple[str, str]) -> None:
    storage = load(*of)(root)
    assert storage.create_namespace(exist_ok=True)
    assert storage.get_namespace() == root
    assert storage.walk_node("data/valid") == []
    assert storage.get_node("data/train") is None
    storage.put_data("data/train/1.npz", b"0123456789", offset=2, length=3)
    storage.put_data("data/train/2.NPZ", io.BytesIO(b"bytes"))
    with pytest.raises(ValueError, match="bytes 2 to 12 of data that has 5"):
        storage.put_data("data/train/3", b"bytes", offset=2, length=10)
    assert (
        storage.get_uri("data/train/1.npz") == f"{root}/data/train/1.npz" == storage.get_uri(f"{root}/data/train/1.npz")
    )
    assert storage.get_data("data/train/1.npz") == b"234"
    assert storage.get_data("data/train/2.NPZ", None, 1, 2) == b"yt"
    assert storage.walk_node("data/train") == ["1.npz", "2.NPZ"]
    assert storage.walk_node("data") == ["train"]
    assert storage.walk_node("data/*/*.npz", use_pattern=True) == [
        f"{root}/data/train/1.npz",
        f"{root}/data/train/2.NPZ",
    ]
    assert storage.get_node("data/train") is MetadataType.DIRECTORY
    assert storage.get_node("data/train/1.npz") is MetadataType.FILE
    assert storage.get_basename("data/train/1.npz") == "1.npz"
    assert storage.delete_node("data/train/1.npz")
    assert not storage.isfile("data/train/1.npz")
    assert storage.delete_node("data")
    assert storage.get_node("data") is None


def test_options_of_a_storage_count_where_the_environment_says_nothing(
    root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_REGION", "here")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    ARGS.storage_options = {"uri_scheme": "az", "endpoint_url": "http://localhost:1", "region": "there"}
    try:
        assert load("s3dlio_storage", "S3dlioStorage")("account/container").get_uri("/a") == "az://account/container/a"
        assert (os.environ["AWS_ENDPOINT_URL"], os.environ["AWS_REGION"]) == ("http://localhost:1", "here")
    finally:
        os.environ.pop("AWS_ENDPOINT_URL", None)


def test_several_endpoints_of_a_storage(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("AWS_ENDPOINT_URL", "S3_ENDPOINT_URIS", "S3_ENDPOINT_TEMPLATE", "S3_LOAD_BALANCE_STRATEGY")
    for name in names:
        monkeypatch.setenv(name, "")
    ARGS.storage_options = {
        "endpoint_uris": ["http://a:1", "http://b:2"], "load_balance_strategy": "least_connections",
        "endpoint_template": "http://h{1...8}", "endpoint_url": "http://localhost:1",
    }  # fmt: skip
    load("s3dlio_storage", "S3dlioStorage")("bucket")
    assert [os.environ[name] for name in names] == ["", "http://a:1,http://b:2", "", "least_connections"]


def test_generated_files_go_to_their_uris(root: str) -> None:
    callback = load("callback", "UseS3dlio")()
    callback.on_job_start(None, task_function=None)
    callback.on_job_start(None, task_function=None)  # another job of a multirun
    assert StorageFactory.get_storage("local_fs", "./data") == ("DLIO's own", "./data")
    generator = GeneratorFactory.get_generator("npz")
    generator.generate()
    assert [uri.removeprefix(root) for uri in s3dlio.list(f"{root}/", recursive=True)] == [
        "/data/train/0.npz",
        "/data/train/1.npz",
    ]
    reader = load("reader", "S3dlioReader")("train", 0, 1)
    name = mangled(f"{root}/data/train/1.npz")
    reader.open_file_map[name] = reader.open(name)
    assert reader.sample(reader.open_file_map[name], 1).tolist() == [[1, 1], [1, 1]]
    reader.get_sample(name, 0)
    reader.finalize()


def test_a_loader_reads_the_files_of_its_rank(root: str) -> None:
    for number in range(3):
        sink = io.BytesIO()
        np.savez(sink, x=np.full((2, 2, 2), number))
        s3dlio.put_bytes(f"{root}/{number}.npz", sink.getbuffer())
    names = [mangled(f"{root}/{number}.npz") for number in range(3)]
    loader = load("data_loader", "S3dlioDataLoader")("npz", "train", 1)
    loader.read()
    ARGS.train_file_map = {0: [(0, names[0], 0), (1, names[0], 1), (2, names[2], 0)], 1: [(3, names[1], 1)]}
    assert [batch.shape for batch in loader.next()] == [(2, 4, 4)] * 2
    ARGS.train_file_map = {}
    ARGS.train_global_index_map = {number: (names[number // 2], number % 2) for number in range(5)}
    assert loader._samples() == [(names[number // 2], number % 2) for number in range(5)]
    ARGS.sample_shuffle = "seed"
    shuffled = loader._samples()
    assert shuffled == loader._samples() != sorted(shuffled)
    assert len(list(loader.next())) == 2  # the fifth makes no batch
    loader.finalize()


def test_a_file_that_is_not_there_is_an_error_with_its_uri(root: str) -> None:
    ARGS.train_file_map = {0: [(0, mangled(f"{root}/none.npz"), 0)]}
    with pytest.raises(FileNotFoundError, match=r"none\.npz"):
        list(load("data_loader", "S3dlioDataLoader")("npz", "train", 1).next())


def test_checkpoints_go_to_a_uri(root: str) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed: make finds no wheel without CUDA")
    checkpointing = load("checkpointing", "S3dlioCheckpointing")
    assert checkpointing.get_instance() is checkpointing.get_instance()
    checkpointing.get_instance().save_state("model-1-2-0", {"a": torch.ones(3)})
    assert torch.load(io.BytesIO(s3dlio.get(f"{root}/ck/model-1-2-0.pt")))["a"].tolist() == [1, 1, 1]


# -- what is put into a DLIO that may be changed


@pytest.fixture
def package(tmp_path: Path) -> Path:
    for name, before in dlio._BEFORE.items():
        path = tmp_path / "dlio_benchmark" / name
        path.parent.mkdir(parents=True)
        path.write_bytes(before.encode())
    return tmp_path / "dlio_benchmark"


def test_storage_classes_are_installed(package: Path) -> None:
    own = package / "storage" / "s3_torch_storage.py"
    own.write_text("# DLIO's own\n")
    for place in (package, package.parent):
        assert dlio.install_to_dlio(str(place)) == str(own)
        assert own.read_text() == dlio.get_storage_file_content() == Path(dlio.get_storage_file_path()).read_text()
        assert Path(f"{own}.original.bak").read_text() == "# DLIO's own\n"
    installed = Path(dlio.install_s3dlio_storage(package))
    assert installed == package / "storage" / "s3dlio_storage.py"
    assert (
        installed.read_text() == dlio.get_s3dlio_storage_content() == Path(dlio.get_s3dlio_storage_path()).read_text()
    )
    for install in (dlio.install_dropin_replacement, dlio.install_s3dlio_storage):
        with pytest.raises(ValueError, match="does not exist"):
            install(package / "common")


def test_a_patch_gives_dlio_the_storage_type(package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert dlio.generate_patch() == "dlio_s3dlio.patch"
    assert dlio.generate_patch(package, "other.patch") == "other.patch"
    text = Path("other.patch").read_bytes()
    assert text == Path("dlio_s3dlio.patch").read_bytes()
    assert text.count(b"@@ -") == 2
    assert b"@@ -47,6 +47,7 @@" in text
    assert b"\n+    S3DLIO = 's3dlio'\r\n" in text
    (package / "storage" / "storage_factory.py").write_text("class StorageFactory: ...\n")
    with pytest.raises(ValueError, match="found 0"):
        dlio.generate_patch(package, "other.patch")


def test_uploads_in_parts_are_as_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    mib = 1 << 20
    assert (multipart.multipart_threshold_bytes(), multipart.multipart_max_in_flight()) == (32 * mib, 8)
    assert not multipart.multipart_disabled()
    for name, value in (("THRESHOLD_MB", "7"), ("PART_SIZE_MB", "9"), ("MAX_IN_FLIGHT", "3")):
        monkeypatch.setenv(f"S3DLIO_MULTIPART_{name}", value)
    assert (multipart.multipart_threshold_bytes(), multipart.multipart_part_size_bytes()) == (7 * mib, 9 * mib)
    assert multipart.multipart_max_in_flight() == 3
    monkeypatch.setenv("S3DLIO_DISABLE_MULTIPART", "yes")
    assert multipart.multipart_disabled()
