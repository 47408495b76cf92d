"""What a command is given: its arguments, its output, and a client made of the global options."""

from __future__ import annotations

import argparse
import logging
from functools import cached_property
from typing import TYPE_CHECKING, NoReturn

from s3dlio.cli.output import Output
from s3dlio.cli.parser import build_parser
from s3dlio.errors import redact

if TYPE_CHECKING:
    from s3dlio.client import Client
    from s3dlio.settings import Settings
    from s3dlio.transfer.progress import Progress
    from s3dlio.types import Observation


log = logging.getLogger("s3dlio.cli")


class Context:
    """One run of one command.

    Args:
        args: the parsed command line.
        out: where its words go.
    """

    def __init__(self, args: argparse.Namespace, out: Output) -> None:
        self.args = args
        self.out = out

    @cached_property
    def settings(self) -> Settings:
        """The settings in force, those of the command line on top."""
        from s3dlio.settings import Settings

        args = self.args
        endpoint = {"endpoint_url": args.endpoint_url}
        anonymous = {"anonymous": args.no_sign_request or None}
        return Settings.resolve(
            http={"ca_bundle": args.ca_bundle},
            s3={**endpoint, **anonymous, "region": args.region, "profile": args.profile},
            azure=endpoint,
            gcs={**endpoint, **anonymous},
        )

    @cached_property
    def client(self) -> Client:
        """The client of this run; made when first used."""
        from s3dlio.client import Client

        client = Client(self.settings)
        if self.out.verbosity:
            client.add_observer(_log_operation)
        return client

    def refuse(self, message: str) -> NoReturn:
        """End with a usage error of this command.

        Raises:
            UsageError: always.
        """
        build_parser().commands()[self.args.command].error(message)

    def bar(self, title: str, *, by_objects: bool = False) -> Progress:
        """A progress bar on stderr where one is wanted, otherwise nobody; ``engine.watched`` closes it."""
        from s3dlio.transfer.progress import NoProgress, ProgressBar

        return ProgressBar(title, self.out.stderr, by_objects=by_objects) if self.out.progress else NoProgress()


def _log_operation(seen: Observation) -> None:
    """With ``-v``: a line for every operation that has ended."""
    seconds = seen.duration_ns / 1e9
    outcome = "failed" if seen.error else f"{seen.bytes} bytes"
    log.info("%s %s: %s in %.6fs", seen.operation, redact(seen.uri), outcome, seconds)
