"""TensorFlow's SavedModel directories, to and from any store. TensorFlow is not needed."""

from __future__ import annotations

import os
import secrets
import shutil

from s3dlio import api
from s3dlio.engine.cancel import surrounding_token
from s3dlio.engine.session import Session
from s3dlio.errors import AlreadyExistsError, ObjectNotFoundError
from s3dlio.foreign_errors import from_os_error
from s3dlio.records import replace
from s3dlio.stores.base import ObjectStore
from s3dlio.transfer.download import download
from s3dlio.transfer.options import TransferOptions
from s3dlio.transfer.places import destination_uri, place_uri
from s3dlio.transfer.upload import upload
from s3dlio.types import NO_OPTIONS, PutOptions
from s3dlio.uri import URI

#: The graph: a directory that has one of these is a model. All other files are there when it is.
_GRAPHS = ("saved_model.pb", "saved_model.pbtxt")


def upload_saved_model(
    path: str | os.PathLike[str],
    uri: URI,
    *,
    overwrite: bool = False,
    max_in_flight: int = 32,
    options: PutOptions = NO_OPTIONS,
    client: Session | None = None,
) -> list[str]:
    """Upload a SavedModel directory: its graph last, so that what has a graph is whole.

    Args:
        path: the local directory, as ``tf.saved_model.save`` has written it.
        uri: the directory that it becomes.
        overwrite: a model that is there is replaced, not refused: its graph goes first, then all beneath ``uri``.
        max_in_flight: how many files at a time.
        options: storage class and the like, for every object.
        client: whose settings count; None: the default client.

    Returns:
        The URIs of the model's objects.

    Raises:
        ObjectNotFoundError: ``path`` is no SavedModel.
        AlreadyExistsError: there is a model already.
        BatchError: files could not be uploaded; there is no graph then.
    """
    session = client or api.default_client()
    local = os.path.abspath(path)
    if not any(os.path.isfile(os.path.join(local, name)) for name in _GRAPHS):
        raise _no_model(f"file://{local}")
    target = destination_uri(uri).rstrip("/") + "/"
    store, prefix = session.store_for(target)
    if old := _graphs(store, prefix):
        if not overwrite:
            raise AlreadyExistsError(
                "there is a SavedModel already", uri=target, operation="PUT",
                hint="write elsewhere, or give overwrite=True",
            )  # fmt: skip
        for key in old:
            store.delete(key)
        store.rmdir(prefix, recursive=True)
    how = TransferOptions(
        max_in_flight=max_in_flight, recursive=True, exclude=_GRAPHS, options=replace(options, durable=True),
        cancel=surrounding_token(),
    )  # fmt: skip
    if _has_more(local):
        upload(session, local + "/", target, how)
    upload(session, local + "/", target, replace(how, exclude=(), include=_GRAPHS))
    return [store.uri(key) for page in store.list(prefix) for key in page.keys]


def download_saved_model(
    uri: URI, path: str | os.PathLike[str], *, max_in_flight: int = 64, client: Session | None = None
) -> str:
    """Download a SavedModel directory, for ``tf.saved_model.load``. It appears whole or not at all.

    Args:
        uri: the directory.
        path: the local directory that it becomes, which is not there yet, or empty.
        max_in_flight: how many objects at a time.
        client: whose settings count; None: the default client.

    Returns:
        The absolute path.

    Raises:
        ObjectNotFoundError: there is no SavedModel; its upload may not have ended.
        AlreadyExistsError: ``path`` is there.
        BatchError: objects could not be downloaded.
    """
    session = client or api.default_client()
    source = place_uri(uri).rstrip("/") + "/"
    store, prefix = session.store_for(source)
    if not _graphs(store, prefix):
        raise _no_model(source)
    local = os.path.abspath(path)
    if os.path.lexists(local) and not (os.path.isdir(local) and not os.listdir(local)):
        raise AlreadyExistsError("there is something already", uri=f"file://{local}", operation="GET")
    part = f"{local}.{secrets.token_hex(4)}.part"
    how = TransferOptions(max_in_flight=max_in_flight, recursive=True, cancel=surrounding_token())
    try:
        download(session, source, part, how)
        _rename(part, local)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    return local


def _rename(part: str, local: str) -> None:
    try:
        os.rename(part, local)
    except OSError as error:
        raise from_os_error(error, uri=f"file://{local}", operation="GET") from error


def _graphs(store: ObjectStore, prefix: str) -> list[str]:
    """The keys of the graphs in a directory."""
    try:
        return [key for page in store.list(prefix, recursive=False) for key in page.keys
                if key.removeprefix(prefix) in _GRAPHS]  # fmt: skip
    except ObjectNotFoundError:
        return []


def _has_more(local: str) -> bool:
    """Whether a directory has files besides graphs."""
    return any(name not in _GRAPHS for _, _, names in os.walk(local) for name in names)


def _no_model(uri: str) -> ObjectNotFoundError:
    return ObjectNotFoundError(f"this is no SavedModel: it has no {_GRAPHS[0]}", uri=uri, operation="GET")
