"""Who takes part in the comparisons: each library in a virtual environment of its own, as a process that does jobs."""

from __future__ import annotations

import fcntl
import importlib.metadata
import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from perf.workers.protocol import Cost, Job, Target

ROOT = Path(__file__).resolve().parents[1]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "s3dlio-perf"
#: Where ``perf.scale --pack`` has put what the contenders need, each in a folder of its own; nothing is installed then.
PACKED = os.environ.get("S3DLIO_PERF_PACKED")
#: Variables of the user's that a library could act on.
FOREIGN = ("AWS_", "AZURE_", "GOOGLE_", "GCS_", "CLOUDSDK_", "STORAGE_EMULATOR_HOST", "S3DLIO_", "BOTO", "PYTHON")
#: The key of an account that does not exist, for the libraries that sign.
AZURE_KEY = "c3BlZWQgaXMgbm90IGEgc2VjcmV0"


class ContenderError(RuntimeError):
    """A contender could not do its job; the message has what it said."""


@dataclass(frozen=True)
class Contender:
    """One library."""

    name: str
    script: str
    """The program in ``workers`` that drives it."""
    package: str | None = None
    """What pip installs into its environment; None: it runs in ours."""
    scheme: str | None = None
    """Asked by URIs of this scheme, whatever the row says."""
    variables: tuple[tuple[str, str], ...] = ()
    """What it has in its environment."""
    checkout: str = str(ROOT)
    """Where our own package is taken from, without a ``package``."""

    @property
    def version(self) -> str:
        if self.package:
            return self.package.partition("==")[2]
        return importlib.metadata.version("s3dlio") if self.script == "with_s3dlio.py" else ""


OURS = Contender("s3dlio", "with_s3dlio.py")
REFERENCE = Contender("reference", "with_s3dlio.py", "s3dlio==0.10.0")
FLOOR = Contender("floor", "floor.py")
THREADED_FLOOR = Contender("threads", "floor_threads.py")
CONTENDERS = {
    contender.name: contender
    for contender in (
        OURS,
        Contender("s3dlio-s3", "with_s3dlio.py", scheme="s3"),
        REFERENCE,
        Contender("obstore", "with_obstore.py", "obstore==0.12.1"),
        Contender("s3torch", "with_s3torch.py", "s3torchconnectorclient==1.5.0"),
        Contender("boto3", "with_boto3.py", "boto3==1.44.5"),
        Contender("azure-sdk", "with_azure.py", "azure-storage-blob==12.31.1"),
        Contender("google-sdk", "with_gcs.py", "google-cloud-storage==3.17.1"),
        FLOOR,
        THREADED_FLOOR,
    )
}


def python_with(package: str | None) -> str:
    """The interpreter of a virtual environment that has *package* (``name==version``), made at the first call."""
    if package is None or PACKED:
        return sys.executable
    folder = CACHE / package.replace("==", "-")
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / f".{folder.name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "ready").exists():
            subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
            install = [folder / "bin/python", "-m", "pip", "--disable-pip-version-check", "install", "--quiet", package]
            subprocess.run(install, check=True)
            (folder / "ready").touch()
    return str(folder / "bin/python")


def environment(target: Target) -> dict[str, str]:
    """The variables with which every library finds *target*, and none of the user's accounts."""
    env = {name: value for name, value in os.environ.items() if not name.upper().startswith(FOREIGN)}
    env |= {
        "AWS_ENDPOINT_URL": target.endpoint,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AZURE_STORAGE_ENDPOINT": target.endpoint,
        "AZURE_STORAGE_KEY": AZURE_KEY,
        "GCS_ENDPOINT_URL": target.endpoint,
        "STORAGE_EMULATOR_HOST": target.endpoint,
        "GOOGLE_CLOUD_PROJECT": "perf",
        "S3DLIO_GCS_ANONYMOUS": "true",
        "S3DLIO_LOAD_DOTENV": "0",
    }
    if target.ca_bundle:
        env["AWS_CA_BUNDLE"] = target.ca_bundle
    return env


class Worker:
    """The process of one contender: ``with Worker(...) as worker: worker.do(job)``."""

    def __init__(self, contender: Contender, target: Target) -> None:
        self.contender = contender
        env = environment(target) | dict(contender.variables)
        places = [contender.checkout] if contender.package is None else []
        if PACKED:
            places.append(str(Path(PACKED) / "site" / (contender.package or "own")))
        if places:
            env["PYTHONPATH"] = os.pathsep.join(places)
        self._process = subprocess.Popen(
            [
                python_with(contender.package),
                ROOT / "perf/workers" / contender.script,
                json.dumps(asdict(target)),
            ],
            env=env,
            cwd=CACHE if CACHE.is_dir() else None,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def do(self, job: Job) -> Cost:
        """Do a job.

        Raises:
            ContenderError: it failed.
        """
        assert self._process.stdin
        assert self._process.stdout
        try:
            self._process.stdin.write(json.dumps(asdict(job)) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise ContenderError(f"{self.contender.name} ended with {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise ContenderError(f"{self.contender.name}: {answer['error']}")
        return Cost(**answer)

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        try:
            self._process.wait(2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
