"""The check of the documents finds what it is there to find."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SOUND = """\
# A heading: with *marks*
`make test`, `s3-cli ls -r --json s3://b/`, `s3dlio.get`, S3DLIO_KNOB, `pip install 's3dlio[torch,dev]'`
[there](#a-heading-with-marks) [web](https://example.org/)
```python
import s3dlio
s3dlio.get("s3://b/k")
```
```sh
AWS_REGION=here s3-cli --json ls s3://b/ | grep --color x   # --no-such-option
```
"""


@pytest.fixture(scope="module")
def check() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_check", Path(__file__).resolve().parents[2] / "docs/check.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def facts(check: ModuleType) -> Any:
    return check.Facts(
        names=frozenset({"get"}),
        global_options=frozenset({"--json"}),
        commands={"ls": frozenset({"-r", "--recursive"})},
        targets=frozenset({"test"}),
        extras=frozenset({"torch", "dev"}),
        variables=frozenset({"S3DLIO_KNOB"}),
    )


def test_a_sound_document_passes(check: ModuleType, facts: Any, tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text(SOUND)
    assert list(check.problems(tmp_path / "a.md", facts)) == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[x](missing.md)", "no such file"),
        ("[x](#no-such-part)", "no such heading"),
        ("```python\nprint(\n```\n", "Python example 3"),
        ("`make dinner`", "no 'make dinner'"),
        ("```sh\ns3-cli burn s3://b/\n```\n", "no command 's3-cli burn'"),
        ("```sh\n$ s3-cli ls --sideways s3://b/\n```\n", "no option --sideways"),
        ("s3dlio.nonesuch", "s3dlio.nonesuch does not exist"),
        ("S3DLIO_NONESUCH", "reads S3DLIO_NONESUCH"),
        ("s3dlio[nonesuch]", "no extra 'nonesuch'"),
    ],
)
def test_a_fault_is_found(check: ModuleType, facts: Any, tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "a.md").write_text(SOUND + text)
    found = list(check.problems(tmp_path / "a.md", facts))
    assert len(found) == 1
    assert problem in found[0]
