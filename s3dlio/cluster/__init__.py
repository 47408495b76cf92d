"""Several processes, on one host or many, that do one job: what each of them does, and what they tell each other."""

from s3dlio.cluster.job import Job, join

__all__ = ["Job", "join"]
