"""Globs over keys that others have written: the same matches as the plain regular expression, in bounded time."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s3dlio.transfer.selection import glob_regex


def plainly(glob: str) -> re.Pattern[str]:
    special = {"**": ".*", "*": "[^/]*"}
    parts = re.split(r"(\*\*|\*)", glob)
    return re.compile("".join(special.get(part) or re.escape(part) for part in parts), re.DOTALL)


@settings(max_examples=3000)
@given(glob=st.text("ab/*", max_size=9), key=st.text("ab/", max_size=10))
def test_the_same_matches_as_the_plain_expression(glob: str, key: str) -> None:
    assert bool(glob_regex(glob).fullmatch(key)) == bool(plainly(glob).fullmatch(key))


@pytest.mark.parametrize("glob", ["*a" * 30 + "*b", "**a" * 30 + "**b", "**a*a" * 15 + "**b", "**/*a*a*a*a/*b"])
@pytest.mark.parametrize("key", ["a" * 1024, "a/" * 512])
def test_no_key_takes_for_ever(glob: str, key: str) -> None:
    assert glob_regex(glob).fullmatch(key) is None
