"""Generated data: as fast as memory, of a known compressibility and redundancy, reproducible when asked.

See docs/datagen.md for the semantics, the statistics and the measurements.
"""

from s3dlio.datagen.checks import default_data_gen_threads, total_cpus
from s3dlio.datagen.config import GeneratorConfig
from s3dlio.datagen.generate import (
    fill_controlled_data,
    generate_controlled_data,
    generate_controlled_data_prand,
    generate_data,
    generate_data_with_threads,
    generate_into_buffer,
)
from s3dlio.datagen.generator import Generator
from s3dlio.datagen.source import DataSource
from s3dlio.datagen.xor import XorStream

py_default_data_gen_threads = default_data_gen_threads
py_total_cpus = total_cpus

__all__ = [
    "DataSource",
    "Generator",
    "GeneratorConfig",
    "XorStream",
    "default_data_gen_threads",
    "fill_controlled_data",
    "generate_controlled_data",
    "generate_controlled_data_prand",
    "generate_data",
    "generate_data_with_threads",
    "generate_into_buffer",
    "py_default_data_gen_threads",
    "py_total_cpus",
    "total_cpus",
]
