"""Keys are data: what was put under a name is found under this name, and under no other."""

from __future__ import annotations

import pytest

from s3dlio import errors
from s3dlio.stores.base import ObjectStore
from tests.conformance.stores import Case

ODD = [
    "with space", " leading and trailing ", "plus+plus", "per%cent", "%2F", "%41", "a%2Fb", "ünïcödé/日本語/🎉",
    "question?mark", "hash#mark", "amp&and=equals", "'single' \"double\" `back`", "semi;colon,comma",
    "star*bracket[x]{y}", "at@colon:dollar$", "back\\slash", "tilde~caret^bar|", "<angle>", "dot.", "...", ".hidden",
    "-dash", "very/" + "long/" * 30 + "key", "n" * 200, "e\u0301 decomposed", "\u00e9 composed",
]  # fmt: skip
#: What most encoders would get wrong.
HANDFUL = [" leading and trailing ", "%2F", "ünïcödé/日本語/🎉", "question?mark", "star*bracket[x]{y}"]
LITERAL = ["a//b", "a/../b", "a/./b", "../up", "./here", "trailing/", "a///", "..", "."]


def check_round_trip(case: Case, store: ObjectStore, name: str) -> None:
    key, data = case.key(name), name.encode()
    store.put(key, data)
    assert store.get(key) == data
    assert store.head(key).size == len(data)
    assert case.names() == [name]
    store.delete(key)
    assert case.names() == []


def skip_what_is_refused(case: Case, name: str) -> None:
    if set(name) & set(case.refuses):
        pytest.skip("the service does not take such keys")


@pytest.mark.per_encoder("name", ODD, HANDFUL)
def test_odd_keys(case: Case, store: ObjectStore, name: str) -> None:
    skip_what_is_refused(case, name)
    check_round_trip(case, store, name)


@pytest.mark.per_encoder("name", LITERAL, ["a//b", "a/../b", "trailing/"])
def test_segments_stay_literal_on_object_stores(case: Case, store: ObjectStore, name: str) -> None:
    case.needs("literal")
    if case.is_local:
        pytest.skip("paths mean what they mean to the system")
    if case.resolves_dots and {".", ".."} & set(name.split("/")):
        with pytest.raises(errors.InvalidURIError):
            store.put(case.key(name), b"x")
        return
    check_round_trip(case, store, name)


@pytest.mark.per_encoder("name", ["line\nfeed", "tab\there", "\x01\x1f", "carriage\rreturn"], ["tab\there"])
def test_control_characters(case: Case, store: ObjectStore, name: str) -> None:
    skip_what_is_refused(case, name)
    check_round_trip(case, store, name)


def test_a_leading_slash_is_part_of_the_key(case: Case, store: ObjectStore) -> None:
    if case.is_local:
        pytest.skip("of a path it is the root")
    name = "/" + case.base.replace("/", "-") + "absolute"
    store.put(name, b"with")
    assert store.get(name) == b"with"
    with pytest.raises(errors.ObjectNotFoundError):
        store.get(name[1:])
    store.delete(name)


def test_neighbours_are_not_confused(case: Case, store: ObjectStore) -> None:
    names = ["a b", "a+b", "a%20b", "a%2Bb", "a%2520b", "A b", "a  b"]
    for name in names:
        store.put(case.key(name), name.encode())
    for name in names:
        assert store.get(case.key(name)) == name.encode()
    assert case.names() == sorted(names)


def test_an_object_and_a_folder_of_one_name(case: Case, store: ObjectStore) -> None:
    store.put(case.key("a/b"), b"inner")
    if case.is_local:
        with pytest.raises(errors.IsDirectoryError):
            store.put(case.key("a"), b"outer")
        with pytest.raises(errors.IsDirectoryError):
            store.get(case.key("a"))
        with pytest.raises(errors.IsDirectoryError):
            store.head(case.key("a"))
        with pytest.raises(errors.IsDirectoryError):
            store.put(case.key("new/"), b"outer")
        with pytest.raises(errors.ObjectNotFoundError):
            store.get(case.key("a/b/c"))
        assert case.names() == ["a/b"]
    else:
        store.put(case.key("a"), b"outer")
        assert (store.get(case.key("a")), store.get(case.key("a/b"))) == (b"outer", b"inner")
        assert case.names(recursive=False) == ["a", "a/"]
