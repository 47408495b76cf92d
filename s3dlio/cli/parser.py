"""The one parser of ``s3-cli``: arguments, man pages and shell completion all come from :func:`build_parser`.

It imports nothing beyond the standard library's argparse and the package's version, so that ``--help`` is quick.
What a command does is named as ``module:function`` and imported when it runs.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from s3dlio._version import __version__
from s3dlio.cli import argument_types
from s3dlio.cli.argument_parser import CommandParser, Commands
from s3dlio.cli.parser_checkpoint import checkpoints

PROG = "s3-cli"
OBJECT_TYPES = ("RAW", "ZEROS", "NPY", "NPZ", "TFRECORD", "HDF5")
METHODS = ("GET", "PUT", "HEAD", "DELETE")
SHELLS = ("bash", "zsh", "fish")
DESCRIPTION = (
    "Work with objects and files on any storage: s3://, az://, gs://, file:// and direct:// behind one command. "
    "A plain path means a local file wherever a command copies; elsewhere everything is a URI."
)
EPILOG = (
    "Exit codes: 0 done, 1 something failed, 2 the command line is wrong, 130 interrupted. "
    "Numbers take the suffixes k, m, g, t (powers of 1000) and Ki, Mi, Gi, Ti (powers of 1024). "
    "Globs are the same for keys and local paths: * and ? stay within a segment, ** crosses '/', [abc] is one "
    "of these, [!abc] none of these, {one,two} either; [*] is the character itself. "
    "'s3-cli config' shows every setting, its value and where it comes from."
)

_URI = "scheme://bucket/key"
_PREFIX = "scheme://bucket/prefix/"


def build_parser(words: Sequence[str] | None = None) -> CommandParser:
    """The whole command line. ``args.run`` names the function that carries the command out.

    Args:
        words: what is to be parsed: other commands than those named there go without the global options, which take
            half the time. None: all of it is wanted.
    """
    parser = CommandParser(prog=PROG, description=DESCRIPTION, epilog=EPILOG)
    parser.add_argument("--version", action="version", version=f"{PROG} {__version__}")
    _global_options(parser)
    commands = Commands(parser)
    for define in (
        _buckets, _looking, _reading, _writing, _transfers, _removing, checkpoints, _sharing, _this_command
    ):  # fmt: skip
        define(commands)
    asked = {command for name, command in parser.commands().items() if words is None or name in words}
    for group in asked:  # last, so that a command's own options come first in its help
        for command in (group, *group.every_command()):
            _global_options(command, of_command=True)
    return parser


def parse(words: Sequence[str]) -> argparse.Namespace:
    """The parsed command line; global options may stand before or after the command.

    Raises:
        UsageError: it cannot be understood.
        SystemExit: ``--help`` or ``--version`` was printed.
    """
    args = build_parser(words).parse_args(words)
    args.verbose += vars(args).pop("more_verbose", 0)
    return args


def _global_options(parser: argparse.ArgumentParser, *, of_command: bool = False) -> None:
    """The options of every command. After the command's name they overwrite only what is really given there."""
    none = argparse.SUPPRESS if of_command else None
    no = argparse.SUPPRESS if of_command else False
    group = parser.add_argument_group("global options")
    group.add_argument(
        "-v",
        "--verbose",
        action="count",
        dest="more_verbose" if of_command else "verbose",
        default=argparse.SUPPRESS if of_command else 0,
        help="tell on stderr what is done; -vv: every detail, and tracebacks of errors",
    )
    group.add_argument("--json", action="store_true", default=no, help="print one JSON object per line")
    group.add_argument(
        "--progress",
        action=argparse.BooleanOptionalAction,
        default=none,
        help="progress bars on stderr, or none; by default on a terminal only",
    )
    group.add_argument("--endpoint", "--endpoint-url", dest="endpoint_url", metavar="URL", default=none,
                       help="the address of the service, for s3://, az:// and gs:// alike")  # fmt: skip
    group.add_argument("--region", metavar="NAME", default=none, help="the region of the service")
    group.add_argument("--ca-bundle", metavar="FILE", default=none, help="trust the certificates in this PEM file")
    group.add_argument("--profile", metavar="NAME", default=none, help="the profile of the AWS configuration to use")
    group.add_argument("--no-sign-request", action="store_true", default=no, help="send requests without credentials")
    group.add_argument("--op-log", metavar="FILE", default=none,
                       help="record every operation in this file, a table compressed with zstd")  # fmt: skip


def _jobs(command: CommandParser, default: int, *names: str) -> None:
    command.add_argument("-j", "--jobs", *names, dest="jobs", type=argument_types.jobs, default=default, metavar="N",
                         help=f"requests in flight, 1 to 4096 (default: {default})")  # fmt: skip


def _procs(command: CommandParser, what: str) -> None:
    command.add_argument("--procs", type=argument_types.procs, default=1, metavar="N",
                         help=f"{what} with so many processes, among which -j is divided (default: 1)")  # fmt: skip


def _pattern(command: CommandParser, what: str) -> None:
    command.add_argument("-p", "--pattern", type=argument_types.pattern, metavar="REGEX",
                         help=f"{what} whose name below the prefix this regular expression finds")  # fmt: skip


def _recursive(command: CommandParser, help: str) -> None:
    command.add_argument("-r", "--recursive", action="store_true", help=help)


def _create_bucket(command: CommandParser) -> None:
    command.add_argument("-c", "--create-bucket", action="store_true", help="create the bucket first if it is missing")


def _part_size(command: CommandParser) -> None:
    command.add_argument("--part-size", type=argument_types.positive_size, metavar="BYTES",
                         help="write large objects in parts of this size (default: multipart.part_size)")  # fmt: skip


def _buckets(commands: Commands) -> None:
    listing = commands.add("list-buckets", "buckets:list_buckets", "List buckets, containers or directories")
    listing.add_argument("uri", nargs="?", default="s3://", metavar="URI",
                         help="scheme:// of the service, or a directory (default: s3://)")  # fmt: skip
    create = commands.add("create-bucket", "buckets:create_bucket", "Create a bucket, container or directory")
    create.add_argument("uri", metavar="URI", help="scheme://bucket; one that exists already is no error")
    delete = commands.add("delete-bucket", "buckets:delete_bucket", "Delete an empty bucket, container or directory")
    delete.add_argument("uri", metavar="URI", help="scheme://bucket")


def _looking(commands: Commands) -> None:
    ls = commands.add("ls", "ls:run", "List objects", aliases=["list"],
                      details="One URI a line as they arrive, and a last line with the count and the rate")  # fmt: skip
    ls.add_argument("uri", metavar="URI", help=f"{_PREFIX}, or a glob")
    _recursive(ls, "everything below, instead of one level")
    _pattern(ls, "only objects")
    ls.add_argument("--fan-out", type=argument_types.jobs, default=1, metavar="N",
                    help="with -r on clouds: list N sub-directories at a time (default: 1)")  # fmt: skip
    ls.add_argument("-c", "--count-only", action="store_true", help="print only the count")
    ls.add_argument("-l", "--long", action="store_true", help="with size in bytes and time of last change")
    ls.add_argument("-H", "--human-readable", action="store_true", help="like -l, with sizes as 1.5 MiB")

    stat = commands.add("stat", "stat:run", "Show what the store tells about an object")
    stat.add_argument("uri", metavar="URI", help=_URI)

    du = commands.add("du", "du:run", "Add up the sizes of the objects under a prefix")
    du.add_argument("uri", metavar="URI", help=_PREFIX)
    _pattern(du, "only objects")
    du.add_argument("-H", "--human-readable", action="store_true", help="sizes as 1.5 MiB")
    du.add_argument("-d", "--depth", type=argument_types.count, default=0, metavar="N",
                    help="also a line for each directory, N levels deep (default: 0)")  # fmt: skip


def _reading(commands: Commands) -> None:
    get = commands.add(
        "get", "get:run", "Read objects and discard their bytes: a read benchmark",
        details="To keep the bytes give -o, or use download, cp or cat",
    )  # fmt: skip
    get.add_argument("uri", nargs="?", metavar="URI", help=f"{_URI}, a prefix ending in '/', or a glob")
    _recursive(get, "everything below the prefix")
    _pattern(get, "only objects")
    _jobs(get, 64, "--concurrent")
    _procs(get, "read")
    _continue_on_error(get)
    get.add_argument("--keylist", metavar="FILE",
                     help="read the URIs from FILE ('-': standard input), one a line; the output of ls, --json too, "
                     "will do")  # fmt: skip
    get.add_argument("-o", "--output", metavar="PATH",
                     help="keep the bytes: write them there, as cp does")  # fmt: skip
    get.too_many_hint = "get drops the bytes that it reads; with -o PATH it keeps them, as download, cp and cat do"
    get.add_argument("--offset", type=argument_types.size, metavar="BYTES",
                     help="read a range that starts here (default: 0)")  # fmt: skip
    get.add_argument("--length", type=argument_types.size, metavar="BYTES",
                     help="read a range of so many bytes (default: to the end)")  # fmt: skip

    cat = commands.add("cat", "cat:cat", "Write the bytes of objects to standard output, one after another")
    cat.add_argument("uris", nargs="+", metavar="URI", help=_URI)
    for name, which in (("head", "first"), ("tail", "last")):
        part = commands.add(name, f"cat:{name}", f"Write the {which} bytes of an object to standard output")
        part.add_argument("uri", metavar="URI", help=_URI)
        part.add_argument("-b", "--bytes", type=argument_types.size, default=1024, metavar="N",
                          help="how many bytes (default: 1024)")  # fmt: skip


def _writing(commands: Commands) -> None:
    put = commands.add(
        "put", "put:run", "Write generated objects: a write benchmark",
        details="Every object has different bytes, made ahead of the network. To store files use upload or cp",
    )  # fmt: skip
    put.too_many_hint = "put writes generated objects; upload and cp store files"
    put.add_argument("uri", metavar="URI_PREFIX", help=f"{_PREFIX}; '{{}}' in it is a template")
    put.add_argument("-n", "--num", type=argument_types.count, default=1, metavar="N",
                     help="how many objects (default: 1)")  # fmt: skip
    put.add_argument("-s", "--size", type=argument_types.size, default=20 << 20, metavar="BYTES",
                     help="size of each object (default: 20971520)")  # fmt: skip
    put.add_argument("-t", "--template", metavar="NAME",
                     help="names below the prefix: the first {} is the index from 0, the second the number of objects "
                     "(default: object_{}_of_{}.dat)")  # fmt: skip
    _jobs(put, 32)
    _procs(put, "write")
    _create_bucket(put)
    put.add_argument("-o", "--object-type", default="RAW", type=str.upper, choices=OBJECT_TYPES, metavar="TYPE",
                     help=f"{', '.join(OBJECT_TYPES)} (default: RAW)")  # fmt: skip
    put.add_argument("--elements", type=argument_types.count, default=1, metavar="N",
                     help="records of a TFRECORD, or rows of an array, each of --size (default: 1)")  # fmt: skip
    put.add_argument("-d", "--dedup", type=argument_types.factor, default=1, metavar="N",
                     help="of N blocks of 1 MiB only one is different (default: 1)")  # fmt: skip
    put.add_argument("-x", "--compress", type=argument_types.factor, default=1, metavar="N",
                     help="zstd can shrink the data N times (default: 1)")  # fmt: skip
    put.add_argument("--data-gen-mode", choices=("streaming", "single-pass"), default="streaming",
                     help="make objects piece by piece while they are sent, or whole before "
                     "(default: streaming)")  # fmt: skip
    put.add_argument("--chunk-size", type=argument_types.positive_size, default=256 << 10, metavar="BYTES",
                     help="the pieces of streaming (default: 262144)")  # fmt: skip
    put.add_argument("--data-gen-algorithm", choices=("random", "prand"), default="random",
                     help="prand: less CPU time, one megabyte under many masks (default: random)")  # fmt: skip
    _continue_on_error(put)
    put.add_argument("--seed", type=argument_types.seed, metavar="N", help="the same N makes the same bytes again")

    mkdir = commands.add("mkdir", "mkdir:mkdir", "Make a directory and its parents (object stores need none)")
    mkdir.add_argument("uri", metavar="URI", help="scheme://bucket/directory/")
    rmdir = commands.add("rmdir", "mkdir:rmdir", "Remove an empty directory")
    rmdir.add_argument("uri", metavar="URI", help="scheme://bucket/directory/")
    _recursive(rmdir, "with everything in it")


def _transfers(commands: Commands) -> None:
    upload = commands.add("upload", "transfers:upload", "Copy local files and directories to a storage")
    upload.add_argument("sources", nargs="+", metavar="FILES", help="files, directories (with -r), or quoted globs")
    upload.add_argument("dest", metavar="DEST", help=_PREFIX)
    _recursive(upload, "directories with everything in them")
    upload.add_argument("--regex", action="store_true",
                        help="the last segment of each source is a regular expression")  # fmt: skip
    _create_bucket(upload)
    _part_size(upload)
    _transfer_options(upload, 32)
    _procs(upload, "transfer")

    download = commands.add("download", "transfers:download", "Copy objects to a local directory")
    download.add_argument("source", metavar="SRC", help=f"{_URI}, a prefix ending in '/', or a glob")
    download.add_argument("dest", metavar="DEST_DIR", help="the directory; it is made if it is missing")
    _recursive(download, "everything below the prefix")
    _transfer_options(download, 64)
    _procs(download, "transfer")

    for name, summary in (
        ("cp", "Copy files or objects from anywhere to anywhere; '-' is standard input or output"),
        ("mv", "Move files or objects from anywhere to anywhere"),
    ):
        command = commands.add(name, f"transfers:{name}", summary,
                               details="Within one service no byte passes through this machine")  # fmt: skip
        command.add_argument("sources", nargs="+", metavar="SRC", help="URIs, local paths, or quoted globs")
        command.add_argument("dest", metavar="DEST", help="a URI or local path; it names a directory if it ends in '/'")
        _recursive(command, "a directory with everything beneath it")
        _create_bucket(command)
        _part_size(command)
        if name == "cp":
            command.add_argument("--expected-size", type=argument_types.size, metavar="BYTES",
                                 help="how long standard input will be: all parts are then equal, as some services "
                                 "want it")  # fmt: skip
        _transfer_options(command, 32, preserve=name == "mv")

    sync = commands.add("sync", "transfers:sync", "Make one directory like another, on any two storages",
                        details="What is missing, has another size or is older than its source is copied")  # fmt: skip
    sync.add_argument("source", metavar="SRC", help="a directory: a URI or local path")
    sync.add_argument("dest", metavar="DEST", help="likewise")
    sync.add_argument("--delete", action="store_true", help="delete what DEST has and SRC has not")
    sync.add_argument("-n", "--dry-run", action="store_true", help="print what would be done, and do nothing")
    sync.add_argument("--checksum", action="store_true", help="compare the CRC32C instead of the time")
    _create_bucket(sync)
    _transfer_options(sync, 32, journal=False)


def _transfer_options(command: CommandParser, jobs: int, *, preserve: bool = False, journal: bool = True) -> None:
    _jobs(command, jobs)
    _pattern(command, "only objects")
    for name, which in (("--include", "only names that match"), ("--exclude", "no names that match")):
        command.add_argument(name, action="append", default=[], metavar="GLOB",
                             help=f"{which} this glob: without '/' the last segment, with '/' all of it, with '/' "
                             "at the end a directory; may be given several times")  # fmt: skip
    command.add_argument("--verify", action="store_true", help="compare the CRC32C of what is read and what is stored")
    command.add_argument("--preserve", action=argparse.BooleanOptionalAction, default=preserve,
                         help=f"keep the time of the last change (default: {'yes' if preserve else 'no'})")  # fmt: skip
    if journal:
        command.add_argument("--journal", metavar="FILE",
                             help="record what is done; after an interruption the same command resumes")  # fmt: skip
    _continue_on_error(command)


def _continue_on_error(command: CommandParser) -> None:
    command.add_argument("--continue-on-error", action="store_true",
                         help="go on after a failure; otherwise nothing more is started")  # fmt: skip


def _removing(commands: Commands) -> None:
    rm = commands.add("rm", "rm:run", "Delete objects", aliases=["delete"])
    rm.add_argument("uri", metavar="URI", help=f"{_URI}; with -r a prefix or a glob")
    _recursive(rm, "everything below the prefix")
    _pattern(rm, "with -r: only objects")
    rm.add_argument("-j", "--jobs", type=argument_types.jobs, default=8, metavar="N",
                    help="requests in flight, of up to 1,000 objects each; fewer while the service throttles "
                    "(default: 8)")  # fmt: skip
    rm.add_argument("-n", "--dry-run", action="store_true", help="print what would be deleted, and delete nothing")
    rm.add_argument("-y", "--yes", action="store_true",
                    help="do not ask; without it more than 100 objects are asked for on a terminal")  # fmt: skip


def _sharing(commands: Commands) -> None:
    presign = commands.add("presign", "presign:run", "Print a URL with which anybody can reach an object")
    presign.add_argument("uri", metavar="URI", help=_URI)
    presign.add_argument("--method", type=str.upper, choices=METHODS, default="GET", metavar="VERB",
                         help=f"what the URL is for: {', '.join(METHODS)} (default: GET)")  # fmt: skip
    presign.add_argument("--expires", type=argument_types.count, default=3600, metavar="SECONDS",
                         help="how long it can be used, up to a week (default: 3600)")  # fmt: skip
    presign.add_argument("--version-id", type=argument_types.version, metavar="ID",
                         help="one version of the object, as stat shows it")  # fmt: skip

    tags = commands.add("tags", "tags:run", "Show or change the tags of an object")
    tags.add_argument("uri", metavar="URI", help=_URI)
    tags.add_argument("--set", type=argument_types.tag, action="append", default=[], metavar="NAME=VALUE",
                      help="set this tag; may be given several times")  # fmt: skip
    tags.add_argument("--remove", action="append", default=[], metavar="NAME",
                      help="remove this tag; may be given several times")  # fmt: skip


def _this_command(commands: Commands) -> None:
    commands.add("config", "config:run", "Show every setting, its value and where it comes from",
                 details="Secrets are masked. Below stand how large bodies cross TLS, and variables that have no "
                         "effect here; --json adds what each setting does")  # fmt: skip
    completion = commands.add("completion", "completion:run", "Print the completion script of a shell",
                              details="For bash: eval \"$(s3-cli completion bash)\" in ~/.bashrc")  # fmt: skip
    completion.add_argument("shell", choices=SHELLS, metavar="SHELL", help=", ".join(SHELLS))
