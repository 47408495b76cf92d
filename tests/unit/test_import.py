"""`import s3dlio` is quick: nothing heavy is imported by it, and its names are the modules' own."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
import zipfile
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import s3dlio
from tests.servers.scripted import Action, Expect, ScriptedServer, respond

HEAVY = ("boto3", "botocore", "azure", "google", "numpy", "asyncio", "torch", "urllib3", "zstandard", "tqdm", "dotenv")


def loaded_by(code: str) -> set[str]:
    ran = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint(*sys.modules)"], capture_output=True, text=True, check=True,
        cwd=Path(s3dlio.__file__).parent.parent,
    )  # fmt: skip
    return set(ran.stdout.split())


def test_the_package_alone_imports_none_of_its_parts() -> None:
    loaded = loaded_by("import s3dlio")
    assert not loaded & set(HEAVY)
    assert {name for name in loaded if name.startswith("s3dlio")} == {"s3dlio", "s3dlio._version"}


def test_local_files_need_nothing_heavy() -> None:
    code = "import s3dlio, tempfile; p = f'file://{tempfile.mkdtemp()}/x'; s3dlio.put_bytes(p, b'x'); s3dlio.get(p)"
    assert not loaded_by(code) & set(HEAVY)


#: What the first read of a small object over plain HTTP does without; each took 2 to 50 ms of the start of a process.
NOT_FOR_A_FIRST_READ = (
    *HEAVY, "dataclasses", "inspect", "ast", "ssl", "http", "email", "xml", "datetime", "pathlib", "shutil", "uuid",
    "json", "argparse", "difflib", "encodings.idna", "urllib.request", "tomllib", "s3dlio.net.tls",
    "s3dlio.net.tls_chain", "s3dlio.transfer.runner", "s3dlio.stores.s3.express", "s3dlio.stores.sdk", "s3dlio.datagen",
    "s3dlio.formats", "s3dlio.compat", "s3dlio.cli", "s3dlio.aio",
)  # fmt: skip


def test_a_first_small_read_imports_what_it_needs() -> None:
    names = ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION")
    with ScriptedServer([[Expect(), respond(body=b"small")]]) as server:
        values = (server.endpoint, "key", "secret", "us-east-1")
        set_up = f"import os; os.environ.update({dict(zip(names, values, strict=True))!r})"
        loaded = loaded_by(f"{set_up}\nimport s3dlio\nassert s3dlio.get('s3://bucket/key') == b'small'")
    by_python = loaded_by("pass")  # an editable install has a finder that imports some itself
    assert not loaded & set(NOT_FOR_A_FIRST_READ) - by_python


#: What uploads and downloads by the command do without, over plain HTTP.
NOT_FOR_A_TRANSFER = (
    *HEAVY, "dataclasses", "inspect", "ssl", "http", "email", "xml", "shutil", "pickle", "datetime", "uuid", "json",
    "glob", "difflib", "tomllib", "urllib.request", "s3dlio.net.tls", "s3dlio.net.tls_chain",
    "s3dlio.cli.commands.pipe", "s3dlio.cli.commands.cat", "s3dlio.cli.progress_bar", "s3dlio.transfer.copy",
    "s3dlio.transfer.sync", "s3dlio.transfer.compare", "s3dlio.transfer.delete", "s3dlio.transfer.moving",
    "s3dlio.transfer.store_routes", "s3dlio.transfer.no_clobber", "s3dlio.transfer.journal",
    "s3dlio.config.durations", "s3dlio.stores.sdk", "s3dlio.datagen", "s3dlio.formats", "s3dlio.compat",
    "s3dlio.aio", "s3dlio.api",
)  # fmt: skip


@pytest.mark.parametrize("verb", ["upload", "download"])
def test_a_transfer_by_the_command_imports_what_it_needs(verb: str, tmp_path: Path) -> None:
    contents = "<Contents><Key>k</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><Size>5</Size></Contents>"
    listing = f"<ListBucketResult><IsTruncated>false</IsTruncated>{contents}</ListBucketResult>"
    (tmp_path / "file").write_bytes(b"small")
    script: list[Action] = [Expect(b"PUT"), respond(headers=[("ETag", '"e"')])]
    if verb == "download":
        script = [Expect(b"GET"), respond(body=listing.encode()), Expect(b"GET"), respond(body=b"small")]
    place = f"{tmp_path}/"
    words = [verb, "-r", *((place, "s3://bucket/") if verb == "upload" else ("s3://bucket/", place))]
    with ScriptedServer([script]) as server:
        values = {"AWS_ENDPOINT_URL": server.endpoint, "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
        set_up = f"import os; os.environ.update({values | {'AWS_REGION': 'us-east-1'}!r})"
        loaded = loaded_by(f"{set_up}\nfrom s3dlio.cli.main import main\nassert main({words!r}) == 0")
        server.assert_consumed()
    assert not loaded & set(NOT_FOR_A_TRANSFER) - loaded_by("pass")


def test_the_list_of_names_is_whole_whenever_another_thread_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3dlio, "_homes_read", None)
    seen: set[int] = set()

    def look(frame: FrameType, event: str, argument: Any) -> Any:
        seen.add(len(s3dlio._homes_read or ()))
        return look

    sys.settrace(look)
    try:
        whole = len(s3dlio._homes())
    finally:
        sys.settrace(None)
    assert seen == {0, whole}


#: Names that are None, and modules that cannot be imported, where torch is not installed.
NEED_TORCH = {"torch", "ObjectStoreIterableDataset", "ObjectStoreMapDataset", "S3IterableDataset", "S3MapDataset"}


@pytest.mark.parametrize("name", s3dlio.__all__)
def test_every_public_name_is_there(name: str) -> None:
    if name not in NEED_TORCH or importlib.util.find_spec("torch"):
        assert getattr(s3dlio, name) is not None
    assert name in dir(s3dlio)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        s3dlio.no_such_name  # noqa: B018
    with pytest.raises(ImportError):
        exec("from s3dlio import no_such_name")


def test_dir_shows_what_is_public_and_nothing_else() -> None:
    public = set(s3dlio.__all__) - {"__version__"} | {"torch"}
    assert {name for name in dir(s3dlio) if not name.startswith("__")} == public


def test_a_star_import_brings_every_name() -> None:
    names: dict[str, object] = {}
    exec("from s3dlio import *", names)
    assert set(s3dlio.__all__) <= set(names)


def test_the_list_of_names_is_the_stub() -> None:
    text = Path(s3dlio.__file__).with_suffix(".pyi").read_text()
    imports = [node for node in ast.parse(text).body if isinstance(node, ast.ImportFrom)]
    assert s3dlio._homes() == {str(alias.asname): node.module for node in imports for alias in node.names}


def test_the_list_of_names_is_read_where_the_package_is_zipped(tmp_path: Path) -> None:
    archive = tmp_path / "package.zip"
    source = Path(s3dlio.__file__).parent
    with zipfile.ZipFile(archive, "w") as zipped:
        for path in source.rglob("*.py*"):
            if path.suffix in (".py", ".pyi"):
                zipped.write(path, Path("s3dlio") / path.relative_to(source))
    code = f"import sys; sys.path.insert(0, {str(archive)!r})\nimport s3dlio as s\nprint(s.__file__, s.ConfigError)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert str(archive) in ran.stdout


def test_type_checkers_see_names_and_signatures() -> None:
    code = (
        "import s3dlio\n"
        "view: s3dlio.BytesView = s3dlio.get('file:///x')\n"
        "names: list[str] = s3dlio.list('file:///x', recursive=True)\n"
        "s3dlio.get_range('file:///x', 'one')\n"
        "s3dlio.no_such_name\n"
    )
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "-c", code]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=Path(s3dlio.__file__).parent.parent)
    found = [line for line in ran.stdout.splitlines() if ": error: " in line]
    assert len(found) == 2, ran.stdout
    assert 'Argument 2 has incompatible type "str"; expected "int"' in found[0]
    assert 'Module has no attribute "no_such_name"' in found[1]


def test_all_that_the_parts_offer_is_offered() -> None:
    offered = set(importlib.import_module("s3dlio.datagen").__all__)
    for module in ("s3dlio.api", "s3dlio.aio", "s3dlio.compat.legacy", "s3dlio.api_formats", "s3dlio.compat.forms"):
        part = importlib.import_module(module)
        offered |= {
            name
            for name, value in vars(part).items()
            if not name.startswith("_") and getattr(value, "__module__", "") == module and callable(value)
        }
    assert offered - {"function_of"} <= set(s3dlio.__all__)


def test_the_version() -> None:
    assert s3dlio.__version__.count(".") == 2
