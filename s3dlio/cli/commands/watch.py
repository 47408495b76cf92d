"""``sync --watch``: a sync again and again, whenever its source has changed, until it is interrupted."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import NoReturn

from s3dlio.cli.context import Context
from s3dlio.cli.summary import finish
from s3dlio.errors import BatchError, S3dlioError
from s3dlio.transfer.places import place_uri
from s3dlio.transfer.summary import TransferSummary
from s3dlio.transfer.watch import settled, watch
from s3dlio.uri import LOCAL_SCHEMES


def watch_source(context: Context, once: Callable[[], TransferSummary]) -> NoReturn:
    """Sync now, and after each change. The first failure ends it, unless it is one of objects; later ones are told, and
    tried again after ``--interval``.

    Raises:
        S3dlioError: the first sync could not begin.
        KeyboardInterrupt: it was interrupted.
    """
    args, out = context.args, context.out
    store, key = context.client.store_for(place_uri(args.source))
    with closing(watch(store, key, args.interval)) as changes:  # before the first look, so that nothing is missed
        local = store.scheme in LOCAL_SCHEMES
        first, failed = True, False
        while True:
            try:
                summary = once()
                if first or summary.attempted or summary.deleted:
                    finish(out, "SYNC", summary)
                failed = False
            except S3dlioError as error:
                if first and not isinstance(error, BatchError):
                    raise
                context.tell(error)
                failed = True
            out.stdout.flush()
            if first:
                how = "for changes" if local else f"every {args.interval:g} seconds"
                out.note(f"Watching {out.name(store.uri(key))} {how}; Ctrl-C ends it")
            first = False
            settled(changes, args.interval if failed else None)
