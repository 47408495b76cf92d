"""What somebody may have meant by a command or an option that there is not."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

#: What other tools call it, and what is meant here: what looks alike may be something else.
_OTHER_WORDS = {
    "copy": "cp", "move": "mv", "rename": "mv", "delete": "rm", "remove": "rm", "del": "rm", "unlink": "rm",
    "mirror": "sync", "push": "upload", "pull": "download", "fetch": "download", "info": "stat", "head-object": "stat",
    "size": "du", "usage": "du", "search": "find", "compare": "check", "share": "presign",
    "sign": "presign", "signurl": "presign", "makebucket": "create-bucket", "removebucket": "delete-bucket",
    "mkbucket": "create-bucket", "rmbucket": "delete-bucket", "configure": "config", "settings": "config",
    "version": "versions", "--concurrency": "--jobs", "--transfers": "--jobs", "--threads": "--jobs",
    "--parallel": "--jobs", "--workers": "--jobs", "--processes": "--procs",
    "--anonymous": "--no-sign-request", "--ignore-existing": "--no-clobber", "--cacert": "--ca-bundle",
    "--debug": "-vv", "--log-level": "-vv", "--silent": "--quiet", "--only-show-errors": "--quiet",
    "--human": "--human-readable", "--humanize": "--human-readable",
    "--limit-upload": "--bwlimit", "--limit-download": "--bwlimit", "--rate-limit": "--bwlimit",
    "--attr": "--metadata", "--tagging": "--tags", "--numworkers": "--jobs", "--host": "--endpoint",
    "-R": "-r", "-P": "--progress", "--checkers": "--jobs", "--expiry": "--expires", "--remove": "--delete",
}  # fmt: skip
#: What another command does, by the command and the word.
_ELSEWHERE = {
    "pipe": "'cp - URI' stores standard input",
    "rcat": "'cp - URI' stores standard input",
    "purge": "'rm -r URI' deletes a directory, 'rb --force URI' a bucket with everything in it",
    "tree": "'ls -r URI' lists everything below, 'du -d N URI' adds up the sizes of directories",
    "ls --include": "-p takes a regular expression or a glob",
    "ls --exclude": "-p takes a regular expression or a glob",
    "cleanup": "'uploads rm URI' removes uploads that were never completed",
    "undo": "'versions restore URI' brings back what was deleted or replaced",
    "cmp": "'check SRC DEST' compares directories, 'analyze --compare A B' op-logs",
    "bench compare": "'analyze --compare A B' compares two runs by their op-logs (--op-log FILE)",
    "bench cmp": "'analyze --compare A B' compares two runs by their op-logs (--op-log FILE)",
    "bench analyze": "'analyze LOG' does it, for a run with --op-log LOG",
    "ls --summarize": "'du URI' adds up the sizes; ls prints the count on standard error",
    "find --delete": "'rm -r URI' takes --include, --min-age, --max-age and the like, too",
    "rm --incomplete": "'uploads rm URI' removes uploads that were never completed",
    "ls --incomplete": "'uploads ls URI' lists uploads that were never completed",
    "check --checksum": "checksums are compared without it, too; --download reads all bytes",
    "cp --delete": "'sync SRC DEST --delete' deletes what the source has not",
}
_NEAR = 0.7  # as difflib measures it


def suggestion(word: str, known: Sequence[str], prog: str) -> str:
    """What to do about an unknown command or option.

    Args:
        word: it.
        known: the commands or options that there are.
        prog: the command as typed (``s3-cli get``).
    """
    command = prog.partition(" ")[2]
    if told := _ELSEWHERE.get(f"{command} {word}".lstrip()):
        return told
    if "ls" in known and "://" in word:
        return f"did you mean 'ls {word}'?" if not command else f"did you mean '{command} ls {word}'?"
    other = _OTHER_WORDS.get(word, "")
    meant = [other] if other in known or (other == "-vv" and "-v" in known) else []
    close = meant or difflib.get_close_matches(word, known, n=1, cutoff=_NEAR)
    return f"did you mean '{close[0]}'?" if close else "--help lists what there is"
