"""`import s3dlio` is quick: nothing heavy is imported by it, and its names are the modules' own."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import s3dlio

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


@pytest.mark.parametrize("name", s3dlio.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(s3dlio, name) is not None
    assert name in dir(s3dlio)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        s3dlio.no_such_name  # noqa: B018
    with pytest.raises(ImportError):
        exec("from s3dlio import no_such_name")


def test_a_name_that_is_still_to_come_says_so() -> None:
    with pytest.raises(AttributeError, match="'save_checkpoint': checkpoints: not in this release yet"):
        s3dlio.save_checkpoint  # noqa: B018
    with pytest.raises(AttributeError, match="'set_client_id': the op-log: not in this release yet"):
        s3dlio.set_client_id  # noqa: B018
    to_come = {name for names in s3dlio._NOT_YET.values() for name in names.split()}
    assert not to_come & set(s3dlio.__all__)


def test_dir_shows_what_is_public_and_nothing_else() -> None:
    assert {name for name in dir(s3dlio) if not name.startswith("__")} == set(s3dlio.__all__) - {"__version__"}


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse(Path(s3dlio.__file__).read_text())
    seen = {
        alias.asname: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("s3dlio.")
        for alias in node.names
        if alias.asname
    }
    assert seen == s3dlio._MODULE_OF


def test_all_that_the_parts_offer_is_offered() -> None:
    offered = set(importlib.import_module("s3dlio.datagen").__all__)
    for module in ("s3dlio.api", "s3dlio.aio", "s3dlio.legacy", "s3dlio.stored"):
        part = importlib.import_module(module)
        offered |= {
            name
            for name, value in vars(part).items()
            if not name.startswith("_") and getattr(value, "__module__", "") == module and callable(value)
        }
    assert offered <= set(s3dlio.__all__)


def test_the_version() -> None:
    assert s3dlio.__version__.count(".") == 2
