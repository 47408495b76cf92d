"""The command and the library have the same defaults, but for those that docs/cli.md tells, with a reason."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path
from typing import Any

import pytest

import s3dlio
from s3dlio.cli.parser import parse

DOCUMENT = Path(__file__).parents[2] / "docs" / "cli.md"
#: What a command line needs at least, and the function that does the same.
PAIRS = {
    "upload a s3://b/": "upload", "download s3://b/k x": "download", "cp a b": "copy", "mv a b": "move",
    "sync a b": "sync", "rm s3://b/k": "delete", "put s3://b/": "put", "check a b": "check", "find s3://b/": "find",
    "ls s3://b/": "list",
    "presign s3://b/k": "presign", "get s3://b/k": "get_many_stats", "rmdir file:///d": "rmdir",
    "versions restore s3://b/k": "restore_version", "uploads ls s3://b": "list_uploads",
    "uploads rm s3://b": "abort_uploads",
    "versions rm s3://b/k --all": "delete_versions", "stat s3://b/k": "stat",
}  # fmt: skip
#: Other names for the same, and other ways to say it.
NAMES = {"jobs": "max_in_flight", "preserve": "preserve_mtime", "dedup": "dedup_factor", "compress": "compress_factor",
         "create_bucket": "should_create_bucket", "maxdepth": "max_depth"}  # fmt: skip
SAME: dict[str, tuple[Any, Any]] = {"procs": (1, None), "size": (20 << 20, None)}


def documented() -> dict[tuple[str, str, str], tuple[Any, Any]]:
    """The differences that the document tells."""
    rows = re.findall(
        r"^\| `(\w+)` \| `(\w+)` \| `(\w+)` \| `([^`]+)` \| `([^`]+)` \| .+ \|$", DOCUMENT.read_text(), re.MULTILINE
    )
    return {(command, function, name): (ast.literal_eval(one), ast.literal_eval(two))
            for command, function, name, one, two in rows}  # fmt: skip


@pytest.mark.parametrize(("words", "name"), PAIRS.items())
def test_defaults_are_the_same(words: str, name: str):
    args = vars(parse(words.split()))
    parameters = inspect.signature(getattr(s3dlio, name)).parameters
    differing: dict[tuple[str, str, str], tuple[Any, Any]] = {}
    for option, value in args.items():
        argument = option if option in parameters else NAMES.get(option, option)
        if argument not in parameters or parameters[argument].default is inspect.Parameter.empty:
            continue
        default = parameters[argument].default
        if (value or None) != (default or None) and SAME.get(option) != (value, default):
            differing[words.split()[0], name, argument] = value, default
    told = {key: values for key, values in documented().items() if key[:2] == (words.split()[0], name)}
    assert differing == told
