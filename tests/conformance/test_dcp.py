"""Distributed checkpoints of torch on every store."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: make finds no wheel without CUDA")

import torch.distributed.checkpoint as dcp  # noqa: E402
from torch.distributed.checkpoint.api import CheckpointException  # noqa: E402

from s3dlio.checkpoint.dcp import S3dlioStorageReader, S3dlioStorageWriter  # noqa: E402
from s3dlio.client import Client  # noqa: E402
from s3dlio.errors import AlreadyExistsError, ObjectNotFoundError, PreconditionFailedError  # noqa: E402
from tests.conformance.stores import Case  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:torch.distributed is disabled")


def test_a_checkpoint_is_saved_loaded_kept_and_replaced(case: Case) -> None:
    client, place = Client(), case.store.uri(case.key("run/step-1"))
    reader = S3dlioStorageReader(place, client=client)

    def load() -> dict[str, object]:
        found = {"a": torch.zeros(700, 300), "b": torch.zeros(5, dtype=torch.bfloat16), "step": 0}
        dcp.load(found, storage_reader=reader)
        return {name: value.unique().tolist() if name != "step" else value for name, value in found.items()}

    with pytest.raises(CheckpointException) as raised:
        load()
    assert isinstance(raised.value.failures[0][0], AssertionError | ObjectNotFoundError)

    for step in (1, 2):
        state = {"a": torch.full((700, 300), step / 2), "b": torch.full((5,), step, dtype=torch.bfloat16), "step": step}
        writer = S3dlioStorageWriter(place, client=client, overwrite=step == 2)
        dcp.save(state, storage_writer=writer)
        assert load() == {"a": [step / 2], "b": [step], "step": step}
        assert len(case.names("run/step-1/")) == 2
        with pytest.raises(CheckpointException) as raised:
            dcp.save(state, storage_writer=S3dlioStorageWriter(place, client=client))
        assert isinstance(raised.value.failures[0][0], AlreadyExistsError)


@pytest.mark.parametrize("there", [False, True])
def test_of_two_that_save_at_once_one_is_told(case: Case, there: bool) -> None:
    if not case.creates_only or (there and not case.replaces_if_match):
        pytest.skip("the store knows no such condition")
    client, place = Client(), case.store.uri(case.key("run"))

    def save(value: float, kind: type[S3dlioStorageWriter] = S3dlioStorageWriter) -> None:
        dcp.save({"t": torch.full((3,), value)}, storage_writer=kind(place, client=client, overwrite=there))

    class Overtaken(S3dlioStorageWriter):
        def finish(self, metadata: object, results: object) -> None:
            save(2.0)
            super().finish(metadata, results)

    if there:
        save(1.0)
    with pytest.raises(CheckpointException) as raised:
        save(3.0, Overtaken)
    assert isinstance(raised.value.failures[0][0], AlreadyExistsError | PreconditionFailedError)
    found = {"t": torch.zeros(3)}
    dcp.load(found, storage_reader=S3dlioStorageReader(place, client=client))
    assert found["t"].tolist() == [2.0] * 3
