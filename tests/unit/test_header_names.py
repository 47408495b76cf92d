"""Names of metadata become header fields: none may break out of one, or make it another."""

from __future__ import annotations

import pytest

from s3dlio.errors import ConfigError
from s3dlio.stores.s3.headers import put_fields
from s3dlio.types import PutOptions


@pytest.mark.parametrize("name", ["", "a b", "a:b", "a\r\nb", "a\t", "\xfc", "a\x00", "(a)", "a,b"])
def test_a_name_that_no_field_has(name: str) -> None:
    with pytest.raises(ConfigError):
        put_fields(PutOptions(metadata={name: "value"}))


@pytest.mark.parametrize("name", ["a", "A-b_c.d", "ends-in-", "1", "mtime"])
def test_a_name_that_a_field_may_have(name: str) -> None:
    assert put_fields(PutOptions(metadata={name: "value"})) == [(f"x-amz-meta-{name.lower()}", "value")]
