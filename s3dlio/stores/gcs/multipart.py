"""Large objects in parallel parts: uploaded as temporary objects, composed to one, and removed again.

A compose request takes 32 objects; more are composed in levels. The parts are under ``.s3dlio/parts/`` in the same
bucket while the upload runs.
Source: Cloud Storage documentation, "Parallel composite uploads", "Composite objects".
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from s3dlio.errors import IntegrityError, S3dlioError
from s3dlio.memory import crc32c
from s3dlio.memory.sources import Source
from s3dlio.net import system
from s3dlio.net.message import Pause, Request
from s3dlio.net.response import Response
from s3dlio.stores.call import Steps
from s3dlio.stores.cloud import write_outcome
from s3dlio.stores.cloud.checksums import crc32c_of
from s3dlio.stores.cloud.part_size import effective_part_size
from s3dlio.stores.gcs import headers, listing, uploads
from s3dlio.stores.gcs.batch_delete import MAX_REQUESTS, JsonBatches
from s3dlio.stores.gcs.copying import MAX_COMPOSED, compose_request
from s3dlio.stores.gcs.service import GcsService
from s3dlio.stores.writer import UploadState, may_resume
from s3dlio.types import NO_CONDITIONS, ObjectMetadata, PutOptions, PutResult

log = logging.getLogger("s3dlio.gcs")

#: What the names of parts begin with.
PARTS = ".s3dlio/parts/"
#: Parts of an object whose size is known: two levels of composing.
MAX_PARTS = MAX_COMPOSED * MAX_COMPOSED
#: Seconds before each look for parts that were given up on their way.
_PAUSES = (0.2, 0.8)
#: Parts exist for seconds: a class with a minimum storage duration costs as if they existed for weeks.
_TEMPORARY = {"storageClass": "STANDARD"}


class _Part(NamedTuple):
    name: str
    generation: str | None
    crc: int
    size: int


class CompositeUpload:
    """One composite upload; see :class:`s3dlio.stores.cloud.writer.PartedUpload`."""

    most_parts = MAX_PARTS

    def __init__(self, service: GcsService, batches: JsonBatches, key: str, options: PutOptions) -> None:
        self._service = service
        self._batches = batches
        self._key = key
        self._options = options
        self._mark = write_outcome.new_mark(options)
        self._properties = headers.marked(headers.properties(options), self._mark)
        self._prefix = f"{PARTS}{os.urandom(16).hex()}/"
        self._sent: dict[int, tuple[int, int]] = {}  # number -> CRC32C, size
        self._parts: dict[int, _Part] = {}
        self._names: list[str] = []  # of all temporary objects that may be there
        #: The service refused a part. The upload waits for those in flight, which would otherwise arrive after the
        #: clean-up and stay.
        self.refused = False

    @property
    def prefix(self) -> str:
        """What the names of the parts begin with; no other names do."""
        return self._prefix

    def has(self, number: int) -> bool:
        """Whether the part is in the bucket."""
        return number in self._parts

    def sent(self) -> list[int]:
        """The numbers of the parts that were sent, in the order of their requests."""
        return list(self._sent)

    def resume(self, source: Source, resume: UploadState) -> Steps[int | None]:
        """Continue an earlier write with those of its parts that equal the source. Returns the size of its parts in
        bytes; None without an earlier write. The parts of another version of the source are removed."""
        if isinstance(stale := resume.stale.get("prefix"), str):
            self._names += [found["name"] for found in (yield from listing.parts(self._service, stale))]
            yield from self.abort()
        prefix, size = resume.state.get("prefix"), resume.state.get("part_size")
        if not isinstance(prefix, str) or not prefix.startswith(PARTS) or not isinstance(size, int) or size < 1:
            return None
        self._prefix = prefix
        there = {found["name"]: found for found in (yield from listing.parts(self._service, prefix))}
        self._names += there
        for number, start in enumerate(range(0, source.size, size), 1):
            found = there.get(f"{prefix}{number:06}")
            length = min(size, source.size - start)
            if found is None or int(found["size"]) != length or "crc32c" not in found:
                continue
            crc = yield from crc32c_of(source.part(start, length))
            if crc32c.from_base64(found["crc32c"]) == crc:
                self._parts[number] = _Part(found["name"], found.get("generation"), crc, length)
        return size

    def begin(self) -> Steps[None]:
        """Nothing to do: parts are objects like any."""
        yield from ()

    def part(self, number: int, source: Source, crc: int | None) -> Request:
        crc = source.crc32c() if crc is None else crc
        self._sent[number] = (crc, source.size)
        name = self._new_name(f"{number:06}")
        request = uploads.put_request(self._service, name, source, _TEMPORARY, crc, self._options, [])
        request.check = self._check
        return request

    def note(self, number: int, response: Response) -> None:
        crc, size = self._sent[number]
        self._parts[number] = self._noted(f"{self._prefix}{number:06}", response, crc, size)

    def complete(self, size: int) -> Steps[PutResult]:
        conditions = yield from self._service.write_conditions(self._key, self._options)
        parts = [part for _, part in sorted(self._parts.items())]
        level = 0
        while len(parts) > MAX_COMPOSED:
            level += 1
            parts = yield from self._compose_level(parts, level)
        crc, total = _together(parts)
        if total != size:
            raise IntegrityError(f"the parts have {total} bytes together, the object {size}", hint="write it again")
        sources = [(part.name, part.generation) for part in parts]
        request = compose_request(self._service, sources, self._key, self._properties, self._options, conditions)
        request.idempotent = True  # the mark tells whether a conditional one was carried out
        try:
            response = yield from self._service.send(request, self._key)
        except S3dlioError as lost:
            if self._mark is None:
                result = yield from self._look(lost, crc, size)
            else:
                result = yield from write_outcome.judged(self._service, self._key, self._options, self._mark, lost)
        else:
            result = yield from uploads.checked(self._service, self._key, response, crc)
        yield from self.abort()
        return result

    def _compose_level(self, parts: Sequence[_Part], level: int) -> Steps[list[_Part]]:
        """Compose each 32 parts to one."""
        groups = [parts[start : start + MAX_COMPOSED] for start in range(0, len(parts), MAX_COMPOSED)]
        names = [self._new_name(f"level-{level}-{number:06}") for number in range(len(groups))]

        def requests() -> Iterator[Request]:
            for name, group in zip(names, groups, strict=True):
                if self.refused:
                    return
                sources = [(part.name, part.generation) for part in group]
                request = compose_request(self._service, sources, name, _TEMPORARY, self._options, [])
                request.check = self._check
                yield request

        responses: Sequence[Response] = yield requests()
        return [
            self._noted(name, response, *_together(group))
            for name, group, response in zip(names, groups, responses, strict=not self.refused)
        ]

    def _look(self, lost: S3dlioError, crc: int, size: int) -> Steps[PutResult]:
        """The result of a compose whose answer was lost, if the object has the bytes of the parts.

        Raises:
            S3dlioError: ``lost``, if not.
        """
        if lost.status is not None and lost.status < 500:
            raise lost
        try:
            found: ObjectMetadata = yield from self._service.head_object(self._key, NO_CONDITIONS)
        except S3dlioError:
            raise lost from None
        if (found.size, found.crc32c) != (size, crc):
            raise lost
        log.info("the answer to a compose was lost, but %s is complete", self._service.uri(self._key))
        return PutResult(found.etag, found.version_id, size)

    def abort(self) -> Steps[None]:
        """Remove the temporary objects; the log names those that stay. Parts that were given up on their way may still
        arrive, so they are looked for afterwards."""
        names, self._names = self._names, []
        yield from self._remove(names)
        if self._sent.keys() <= self._parts.keys():
            return
        try:
            for pause in _PAUSES:
                yield Pause(pause)
                late = yield from listing.parts(self._service, self._prefix)
                yield from self._remove([found["name"] for found in late])
        except S3dlioError as error:
            log.warning("parts of %s may have stayed under %s: %s", self._service.uri(self._key), self._prefix, error)

    def _remove(self, names: Sequence[str]) -> Steps[None]:
        for start in range(0, len(names), MAX_REQUESTS):
            some = names[start : start + MAX_REQUESTS]
            try:
                failed = yield from self._batches.run(some)
            except S3dlioError as error:
                failed = [(name, error) for name in some]
            for name, why in failed:
                log.warning("a part of %s may have stayed as %s: %s", self._service.uri(self._key), name, why)

    def _new_name(self, name: str) -> str:
        self._names.append(self._prefix + name)
        return self._names[-1]

    def _noted(self, name: str, response: Response, crc: int, size: int) -> _Part:
        if response.status != 200:
            raise uploads.typed_damage(self._service.fail(response, self._key))
        resource = self._service.parsed(response, headers.parse)
        if uploads.is_damaged(resource, crc):
            raise IntegrityError("a part arrived damaged", hint="write it again")
        return _Part(name, resource.get("generation"), crc, size)

    def _check(self, response: Response) -> None:
        self.refused = self.refused or response.status != 200


def _together(parts: Sequence[_Part]) -> tuple[int, int]:
    """CRC32C and size of parts in a row."""
    crc, size = 0, 0
    for part in parts:
        crc, size = crc32c.combine(crc, part.crc, part.size), size + part.size
    return crc, size


def write(
    service: GcsService,
    batches: JsonBatches,
    key: str,
    source: Source,
    options: PutOptions,
    resume: UploadState | None = None,
) -> Steps[PutResult]:
    """Write a large object in concurrent parts; a failure removes the parts, unless the write may continue later."""
    measured = service.measured
    size = effective_part_size(source.size, service.settings, MAX_PARTS, measured)
    upload = CompositeUpload(service, batches, key, options)
    if resume is not None:
        size = (yield from upload.resume(source, resume)) or size
        resume.save({"prefix": upload.prefix, "part_size": size})

    def requests() -> Iterator[Request]:
        for number, start in enumerate(range(0, source.size, size), 1):
            if upload.refused:
                return
            if upload.has(number):
                continue
            part = source.part(start, min(size, source.size - start))
            crc = yield from crc32c_of(part)
            yield measured.timed(upload.part(number, part, crc), part.size)

    try:
        responses: Sequence[Response] = yield requests()
        for number, response in zip(upload.sent(), responses, strict=not upload.refused):
            upload.note(number, response)
        began = system.monotonic()
        result = yield from upload.complete(source.size)
        measured.answered(system.monotonic() - began)
        return result
    except GeneratorExit:
        raise  # no driver is left that could send the clean-up
    except BaseException as error:
        if resume is None or not may_resume(error):
            yield from upload.abort()
            if resume is not None:
                resume.save({})
        raise
