"""Deleting, containers and directories."""

from __future__ import annotations

import os

import pytest

from s3dlio import errors
from s3dlio.stores.base import ObjectStore
from tests.conformance.stores import Case


def test_delete(case: Case, store: ObjectStore) -> None:
    store.put(case.key("a"), b"1")
    store.put(case.key("b"), b"2")
    store.delete(case.key("a"))
    store.delete(case.key("a"))
    store.delete(case.key("never/there"))
    assert case.names() == ["b"]
    with pytest.raises(errors.ObjectNotFoundError):
        store.get(case.key("a"))


def test_delete_many_tells_of_each_key(case: Case, store: ObjectStore) -> None:
    names = ["plain", "with space", "a&b<c>", "ü"]
    for name in names:
        store.put(case.key(name), b"x")
    keys = [case.key(name) for name in [*names, "missing"]]
    if not case.is_local:
        assert store.delete_many(keys) == []
        assert case.names() == []
        return
    store.put(case.key("folder/inner"), b"x")
    ((key, error),) = store.delete_many([case.key("folder"), *keys])
    assert key == case.key("folder")
    assert isinstance(error, errors.IsDirectoryError)
    assert (error.uri, error.operation) == (store.uri(key), "DELETE")
    assert case.names() == ["folder/inner"]


def test_delete_of_one_version_only(case: Case, store: ObjectStore) -> None:
    key = case.key("conditional")
    old = store.put(key, b"old").etag
    assert old
    store.put(key, b"another")
    with pytest.raises(errors.PreconditionFailedError):
        store.execute(store.delete_call(key, if_match=old))
    assert store.get(key) == b"another"
    etag = store.head(key).etag
    for _ in range(2):  # the second time there is nothing to delete
        store.execute(store.delete_call(key, if_match=etag))
    with pytest.raises(errors.ObjectNotFoundError):
        store.get(key)


def test_containers(case: Case) -> None:
    if case.new_container is None:
        pytest.skip("the containers of files are directories")
    store = case.new_container()
    store.create_container()
    store.create_container()
    assert store.root in [container.uri for container in store.list_containers()]
    store.put("object", b"x")
    with pytest.raises(errors.S3dlioError) as caught:
        store.delete_container()
    assert caught.value.hint is not None
    assert store.get("object") == b"x"
    store.delete("object")
    store.delete_container()
    assert store.root not in [container.uri for container in store.list_containers()]
    with pytest.raises(errors.ObjectNotFoundError):
        store.get("object")


def test_directories(case: Case, store: ObjectStore) -> None:
    store.mkdir(case.key("new/folder"))
    store.mkdir(case.key("new/folder"))
    assert case.names() == []
    if case.is_local:
        assert os.path.isdir(case.key("new/folder"))
        with pytest.raises(errors.IsDirectoryError, match="nothing was deleted"):
            store.delete(case.key("new"))
        with pytest.raises(errors.LocalIOError):
            store.rmdir(case.key("new"))
    store.put(case.key("new/folder/x"), b"1")
    store.put(case.key("new/y"), b"1")
    store.put(case.key("newer"), b"1")
    store.rmdir(case.key("new"), recursive=True)
    assert case.names() == ["newer"]
    store.rmdir(case.key("new"), recursive=True)
