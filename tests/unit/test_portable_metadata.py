"""Metadata that another service does not take: written so that it does, and restored on the way back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3dlio.stores.metadata import RULES, fits_header, fitted, restored

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@pytest.mark.parametrize("scheme", RULES)
@given(metadata=st.dictionaries(st.text("abAB-_é .1", min_size=1, max_size=6), TEXT, max_size=4))
def test_what_is_kept_comes_back_as_it_was(scheme: str, metadata: dict[str, str]) -> None:
    rules = RULES[scheme]
    metadata = restored(metadata)
    taken, dropped = fitted(metadata, rules)
    for name, value in taken.items():
        assert rules.is_name is None or rules.is_name(name)
        assert not rules.in_headers or fits_header(value)
    if rules.in_headers:
        assert len({name.lower() for name in taken}) == len(taken)
    assert restored(taken) == {name: value for name, value in metadata.items() if name not in dropped}


def test_names_and_values_have_the_forms_that_others_know() -> None:
    taken, dropped = fitted({"my-key": "v", "naïve": "ü"}, RULES["az"])
    assert taken == {
        "rename_my_key": "v", "rename_key_my_key": "my-key",
        "rename_na_ve": "=?UTF-8?B?w7w=?=", "rename_key_na_ve": "=?UTF-8?B?bmHDr3Zl?=",
    }  # fmt: skip
    assert dropped == []
    assert restored({"a": "=?UTF-8?Q?caf=C3=A9?=", "b": "=?utf-8?b?!?=", "rename_key_x": "y"}) == {
        "a": "café", "b": "=?utf-8?b?!?=", "rename_key_x": "y",
    }  # fmt: skip


def test_what_is_too_long_is_left_out_longest_first() -> None:
    taken, dropped = fitted({"a": "x" * 1500, "b": "y" * 900, "mtime": "1.0"}, RULES["s3"])
    assert (set(taken), dropped) == ({"b", "mtime"}, ["a"])
    assert fitted({"a": "x" * 1500}, RULES["s3"], spent=600)[1] == ["a"]


def test_names_that_headers_do_not_tell_apart() -> None:
    assert fitted({"Key": "1", "key": "2"}, RULES["s3"]) == ({"Key": "1"}, ["key"])
    assert fitted({"Key": "1", "key": "2"}, RULES["gs"]) == ({"Key": "1", "key": "2"}, [])
