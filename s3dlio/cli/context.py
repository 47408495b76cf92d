"""What a command is given: its arguments, its output, and a client made of the global options."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from s3dlio.cli.output import Output
from s3dlio.cli.parser import build_parser
from s3dlio.engine.group import ALONE, Group
from s3dlio.errors import IsDirectoryError, ObjectNotFoundError, S3dlioError
from s3dlio.masking import redact
from s3dlio.uri import LOCAL_SCHEMES, is_directory_like

if TYPE_CHECKING:
    from s3dlio.cli.counting import Counter
    from s3dlio.cli.progress_bar import ProgressBar
    from s3dlio.client import Client
    from s3dlio.cluster.job import Job
    from s3dlio.config.settings import Settings
    from s3dlio.types import Observation

log = logging.getLogger("s3dlio.cli")

#: Commands that tell with ``-v`` of every object, and only with ``-vv`` of every operation.
OBJECT_BY_OBJECT = ("upload", "download", "cp", "mv", "sync")

#: What services call a bucket, or container, that is not there.
NO_BUCKET = ("NoSuchBucket", "ContainerNotFound")

T = TypeVar("T")


class Context:
    """One run of one command.

    Args:
        args: the parsed command line.
        out: where its words go.
    """

    def __init__(self, args: argparse.Namespace, out: Output) -> None:
        self.args = args
        self.out = out
        self.counted: ProgressBar | Counter | None = None
        #: Something failed, and was told already: the exit code is 1.
        self.failed = False
        #: The job of several processes that this one belongs to.
        self.job: Job | None = None

    @property
    def group(self) -> Group:
        """The processes that run this command together."""
        return ALONE if self.job is None else self.job.group

    @cached_property
    def settings(self) -> Settings:
        """The settings in force, those of the command line on top."""
        from s3dlio.config.settings import Settings

        return Settings.resolve(**self.given)

    @property
    def given(self) -> dict[str, dict[str, Any]]:
        """The settings of the command line."""
        args = self.args
        endpoint = {"endpoint_url": args.endpoint_url}
        if args.endpoints is not None and args.endpoint_url is not None:
            self.refuse("--endpoint and --endpoints exclude each other")
        several = {"endpoints": args.endpoints, "load_balance_strategy": args.load_balance}
        anonymous = {"anonymous": args.no_sign_request or None}
        return {
            "http": {"ca_bundle": args.ca_bundle, "bwlimit": args.bwlimit},
            "multipart": {"part_size": getattr(args, "part_size", None)},
            "s3": {**endpoint, **several, **anonymous, "region": args.region, "profile": args.profile},
            "azure": endpoint,
            "gcs": {**endpoint, **anonymous},
        }

    @property
    def client(self) -> Client:
        """The client of this run; made when first used. In a job of several processes its transfers are divided among
        them."""
        return self.plain_client if self.job is None else self.job.client

    @cached_property
    def plain_client(self) -> Client:
        """The same, by itself."""
        from s3dlio.client import Client

        client = Client(self.settings)
        self._observe(client)
        return client

    def _observe(self, client: Client) -> None:
        if self.out.verbosity > (self.args.command in OBJECT_BY_OBJECT):
            client.add_observer(_log_operation)

    def join(self, job: Job) -> None:
        """Run the command as a part of a job."""
        self.job = job
        if job.size > 1:
            self._observe(job.client)

    def refuse(self, message: str) -> NoReturn:
        """End with a usage error of this command.

        Raises:
            UsageError: always.
        """
        command = build_parser().commands()[self.args.command]
        command.commands().get(getattr(self.args, "subcommand", ""), command).error(message)

    def would(self, record: dict[str, Any], text: str) -> None:
        """What a dry run would do: a line on stdout."""
        self.out.result({**record, "dry_run": True}, self.out.name(text))

    def each(self, operands: Iterable[T], do: Callable[[T], object]) -> None:
        """Do something with every operand. One that fails is told, and does not stop the others; the only one raises
        its error."""
        operands = list(operands)
        for operand in operands:
            try:
                do(operand)
            except S3dlioError as error:
                if len(operands) == 1:
                    raise
                self.tell(error)

    def tell(self, error: S3dlioError) -> None:
        """Tell an error, and go on; the command fails in the end."""
        self.out.stdout.flush()  # what was done comes before what was not
        self.out.error(error)
        self.failed = True

    def bar(
        self, title: str, *, by_objects: bool = False, looked: str = "listed", transient: bool = False
    ) -> ProgressBar | Counter:
        """A progress bar on stderr where one is wanted, otherwise nobody's; ``progress.reporting`` closes it."""
        if self.out.progress:
            from s3dlio.cli.progress_bar import ProgressBar

            bar = ProgressBar(title, self.out.stderr, by_objects=by_objects, looked=looked, transient=transient)
            self.counted = self.out.bar = bar
        else:
            from s3dlio.cli.counting import Counter

            self.counted = Counter(title)
        return self.counted

    @contextlib.contextmanager
    def looking(self, title: str, *, looked: str = "listed", prints: bool = True) -> Iterator[Callable[[int], None]]:
        """Counts names that are listed, or compared; drawn while the block runs, unless their lines go to the terminal.

        Args:
            title: what is done.
            looked: what is done to each of them.
            prints: lines are printed meanwhile.
        """
        if not self.out.progress or (prints and self.out.on_terminal):
            yield lambda names: None
            return
        bar = self.bar(title, by_objects=True, looked=looked, transient=True)
        try:
            yield bar.look
        finally:
            bar.close()

    @contextlib.contextmanager
    def one_object(self, uri: str | None, hint: str) -> Iterator[None]:
        """Where one object is meant: what the block raises gets the hint if there is a directory of this name."""
        try:
            yield
        except (ObjectNotFoundError, IsDirectoryError) as error:
            if error.hint is None and uri is not None and self._is_directory(uri, error):
                error.hint = hint if isinstance(error, IsDirectoryError) else f"it is a directory: {hint}"
            raise

    def check_matched(self, uri: str, count: int, operation: str) -> None:
        """Where a name or a glob selected nothing, say so: what is mistyped must not look like an empty directory.

        Raises:
            ObjectNotFoundError: it did.
        """
        from s3dlio.transfer.glob import is_glob

        store, key = self.client.store_for(uri)
        if count or is_directory_like(key) or (store.scheme in LOCAL_SCHEMES and os.path.isdir(key)):
            return
        if not is_glob(key):
            raise ObjectNotFoundError("there is no object and no directory of this name", uri=uri, operation=operation)
        raise ObjectNotFoundError(
            "nothing matches the glob", uri=uri, operation=operation,
            hint="'*' and '?' match no '/', '**' does; in brackets a special character is itself: [*], [?], [[], [{]",
        )  # fmt: skip

    def suggest_bucket(self, error: BaseException) -> None:
        """Where a bucket is not there, and one has a name like it, the hint says so."""
        import difflib

        if not isinstance(error, S3dlioError) or error.code not in NO_BUCKET or error.uri is None:
            return
        with contextlib.suppress(S3dlioError):  # the error at hand matters more than why there is no hint
            store, _ = self.client.store_for(error.uri)
            known = {str(found["name"]): str(found["uri"]) for found in self.client.list_containers(f"{store.root}/")}
            name = store.root.rpartition("/")[2]
            if close := difflib.get_close_matches(name, known, n=1, cutoff=0.7):
                error.hint = f"did you mean {known[close[0]]}/?"

    def _is_directory(self, uri: str, error: S3dlioError) -> bool:
        if isinstance(error, IsDirectoryError):
            return True
        store, key = self.client.store_for(uri)
        if store.scheme in LOCAL_SCHEMES:
            return False
        directory = key if is_directory_like(key) else f"{key}/"
        with contextlib.suppress(S3dlioError):  # the error at hand matters more than why there is no hint
            return any(page.keys or page.prefixes for page in itertools.islice(store.list(directory), 1))
        return False


def _log_operation(seen: Observation) -> None:
    """With ``-v``: a line for every operation that has ended."""
    seconds = seen.duration_ns / 1e9
    outcome = "failed" if seen.error else f"{seen.bytes} bytes"
    log.info("%s %s: %s in %.6fs", seen.operation, redact(seen.uri), outcome, seconds)
