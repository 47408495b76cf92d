"""The command line of the commands for objects: read, written, deleted, shared."""

from __future__ import annotations

from s3dlio.cli import argument_types
from s3dlio.cli.argument_parser import Commands
from s3dlio.cli.parser_options import (
    PREFIX,
    URI,
    continue_on_error,
    create_bucket,
    dry_run,
    jobs,
    object_options,
    pattern,
    procs,
    recursive,
    selection,
    version_id,
)

OBJECT_TYPES = ("RAW", "ZEROS", "NPY", "NPZ", "TFRECORD", "HDF5")
METHODS = ("GET", "PUT", "HEAD", "DELETE")


def reading(commands: Commands) -> None:
    """The commands that read objects."""
    get = commands.add(
        "get", "get:run", "Read objects and discard their bytes: a read benchmark",
        details="To keep the bytes give -o, or use download, cp or cat",
    )  # fmt: skip
    get.add_argument("uri", nargs="?", metavar="URI", help=f"{URI}, a prefix ending in '/', or a glob")
    recursive(get, "everything below the prefix")
    pattern(get, "only objects")
    jobs(get, 64, "--concurrent")
    procs(get, "read")
    continue_on_error(get)
    get.add_argument("--keylist", metavar="FILE",
                     help="read the URIs from FILE ('-': standard input), one a line; the output of ls, --json too, "
                     "will do")  # fmt: skip
    get.add_argument("-o", "--output", metavar="PATH",
                     help="keep the bytes: write them there, as cp does; '-': standard output")  # fmt: skip
    get.too_many_hint = "get drops the bytes that it reads; with -o PATH it keeps them, as download, cp and cat do"
    get.add_argument("--offset", type=argument_types.size, metavar="BYTES",
                     help="read a range that starts here (default: 0)")  # fmt: skip
    get.add_argument("--length", type=argument_types.size, metavar="BYTES",
                     help="read a range of so many bytes (default: to the end)")  # fmt: skip
    version_id(get)

    cat = commands.add("cat", "cat:cat", "Write the bytes of objects to standard output, one after another")
    cat.add_argument("uris", nargs="+", metavar="URI", help=URI)
    version_id(cat)
    for name, which in (("head", "first"), ("tail", "last")):
        part = commands.add(name, f"cat:{name}", f"Write the {which} bytes of objects to standard output")
        part.add_argument("uris", nargs="+", metavar="URI", help=URI)
        part.add_argument("-b", "--bytes", type=argument_types.size, default=1024, metavar="N",
                          help="how many bytes (default: 1024)")  # fmt: skip
        version_id(part)


def writing(commands: Commands) -> None:
    """The commands that write objects, and make directories."""
    put = commands.add(
        "put", "put:run", "Write generated objects: a write benchmark",
        details="Every object has different bytes, made ahead of the network. To store files use upload or cp",
    )  # fmt: skip
    put.too_many_hint = "put writes generated objects; upload and cp store files"
    put.add_argument("uri", metavar="URI_PREFIX", help=f"{PREFIX}; '{{}}' in it is a template")
    put.add_argument("-n", "--num", type=argument_types.count, default=1, metavar="N",
                     help="how many objects (default: 1)")  # fmt: skip
    put.add_argument("-s", "--size", type=argument_types.size, default=20 << 20, metavar="BYTES",
                     help="size of each object (default: 20971520)")  # fmt: skip
    put.add_argument("-t", "--template", metavar="NAME",
                     help="names below the prefix: the first {} is the index from 0, the second the number of objects "
                     "(default: object_{}_of_{}.dat)")  # fmt: skip
    jobs(put, 32)
    procs(put, "write")
    create_bucket(put)
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
    continue_on_error(put)
    object_options(put, guess=False)
    dry_run(put, short=False)
    put.add_argument("--seed", type=argument_types.seed, metavar="N", help="the same N makes the same bytes again")

    mkdir = commands.add("mkdir", "mkdir:mkdir", "Make a directory and its parents (object stores need none)")
    mkdir.add_argument("uri", metavar="URI", help="scheme://bucket/directory/")
    rmdir = commands.add("rmdir", "mkdir:rmdir", "Remove an empty directory")
    rmdir.add_argument("uri", metavar="URI", help="scheme://bucket/directory/")
    recursive(rmdir, "with everything in it")
    for command in (mkdir, rmdir):
        dry_run(command)


def removing(commands: Commands) -> None:
    """The commands that delete objects."""
    rm = commands.add("rm", "rm:run", "Delete objects", aliases=["delete"])
    rm.add_argument("uris", nargs="+", metavar="URI", help=f"{URI}; with -r a prefix or a glob")
    recursive(rm, "everything below the prefix")
    pattern(rm, "with -r: only objects")
    selection(rm, only="with -r: ")
    rm.add_argument("-j", "--jobs", type=argument_types.jobs, default=8, metavar="N",
                    help="requests in flight, of up to 1,000 objects each; fewer while the service throttles "
                    "(default: 8)")  # fmt: skip
    dry_run(rm, "print what would be deleted, and delete nothing")
    rm.add_argument("--versions", action="store_true",
                    help="delete all versions, so that nothing can be restored")  # fmt: skip
    version_id(rm, "delete this version only")
    rm.add_argument("-f", "--force", action="store_true",
                    help="do not ask, and where a glob or name selects nothing, that is no error")  # fmt: skip
    rm.add_argument("-y", "--yes", action="store_true",
                    help="do not ask; without it more than 100 objects are asked for on a terminal")  # fmt: skip


def sharing(commands: Commands) -> None:
    """The commands for links and tags."""
    presign = commands.add("presign", "presign:run", "Print a URL with which anybody can reach an object")
    presign.add_argument("uri", metavar="URI", help=URI)
    presign.add_argument("--method", type=str.upper, choices=METHODS, default="GET", metavar="VERB",
                         help=f"what the URL is for: {', '.join(METHODS)} (default: GET)")  # fmt: skip
    presign.add_argument("--expires", "--expires-in", "--expire", type=argument_types.whole_seconds, default=3600,
                         metavar="TIME",
                         help="how long it can be used, up to a week: seconds, or 15m, 12h, 7d "
                         "(default: 1h)")  # fmt: skip
    version_id(presign)

    tags = commands.add("tags", "tags:run", "Show or change the tags of an object")
    tags.add_argument("uri", metavar="URI", help=URI)
    tags.add_argument("--set", type=argument_types.tag, action="append", default=[], metavar="NAME=VALUE",
                      help="set this tag; may be given several times")  # fmt: skip
    tags.add_argument("--remove", action="append", default=[], metavar="NAME",
                      help="remove this tag; may be given several times")  # fmt: skip
    dry_run(tags)
