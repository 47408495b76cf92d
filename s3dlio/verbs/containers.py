"""The verbs for directories and for containers: buckets, and what other services call so."""

from __future__ import annotations

from s3dlio.engine.session import Session
from s3dlio.signatures import also_named
from s3dlio.stores.local.store import LocalStore
from s3dlio.uri import URI


def mkdir(session: Session, uri: URI) -> None:
    """Make a local directory and its parents; object stores have none, so there it does nothing."""
    store, key = session.store_for(uri)
    store.mkdir(key)


def rmdir(session: Session, uri: URI, recursive: bool = False) -> None:
    """Remove a directory, which must be empty unless ``recursive``; one that is not there is no error.

    Object stores have no directories: there ``recursive`` deletes what is under the prefix, and without it nothing
    is done.
    """
    store, key = session.store_for(uri)
    store.rmdir(key, recursive=recursive)


@also_named(bucket_name="name")
def create_bucket(session: Session, name: URI) -> None:
    """Create a bucket (container, local directory). One of our own that is there already is no error.

    Args:
        name: the URI, or for S3 the bare name.

    Raises:
        AlreadyExistsError: it belongs to somebody else.
        InvalidURIError: no bucket is named, or an object.
    """
    store, path = session.stores.container(name, named=True)
    if isinstance(store, LocalStore):
        store.mkdir(path)
    else:
        store.create_container()


@also_named(bucket_name="name")
def delete_bucket(session: Session, name: URI) -> None:
    """Delete a bucket (container, local directory), which must be empty."""
    store, path = session.stores.container(name, named=True)
    if isinstance(store, LocalStore):
        store.rmdir(path)
    else:
        store.delete_container()


def list_containers(session: Session, uri: URI = "s3://") -> list[dict[str, str | None]]:
    """The buckets (containers) of a service, or the sub-directories of a local directory.

    Args:
        uri: ``s3://``, ``s3://host:9000``, ``az://account``, ``gs://``, or a directory. A bucket, or what
            is in it, means its service.

    Returns:
        One dictionary each: name, uri, creation_date (RFC 3339, None where the store does not know).
    """
    store, path = session.stores.container(uri or "s3://", keyed=True)
    found = store.list_containers(path) if isinstance(store, LocalStore) else store.list_containers()
    return [container.as_dict() for container in found]
