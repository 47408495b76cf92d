# Everything a clone needs, on Debian with Python 3.11 or newer and without root. `make help` lists the targets.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/pip --disable-pip-version-check install --quiet
PYTEST := $(BIN)/python -m pytest

.DEFAULT_GOAL := help
# `docs` is a folder, too.
.PHONY: docs help demo test test-versions test-ceph servers check check-style check-types check-man check-docs check-api man perf perf-compare perf-curve perf-backends perf-tools perf-oplog perf-scale perf-loaders perf-torch perf-fsspec perf-start clean

help:           ## list the targets
	@sed -n 's/^\([a-z-]*\): .*## \(.*\)/make \1\t\2/p' Makefile | expand -t 22

demo: $(VENV)/.demo     ## the main job on an embedded local S3 (or on AWS_ENDPOINT_URL), every byte verified
	@$(BIN)/python -m tests.e2e.demo

test: $(VENV)/.dev servers  ## the whole test suite (PYTEST_ARGS adds arguments), then test-versions
	$(PYTEST) $(PYTEST_ARGS)
	@$(MAKE) --no-print-directory test-versions

test-versions: $(VENV)/.dev ## unit and property tests on the other Pythons of this machine
	$(BIN)/python -m tests.versions

test-ceph: $(VENV)/.dev     ## the conformance suite on Ceph radosgw (root: installs Debian's packages)
	$(BIN)/python -m tests.servers install radosgw
	$(PYTEST) --ceph tests/conformance tests/servers tests/e2e/test_s3_signatures.py $(PYTEST_ARGS)

servers: $(VENV)/.dev   ## install the test servers into the user's cache folder (once)
	$(BIN)/python -m tests.servers install

check: check-style check-types check-man check-docs check-api docs   ## ruff, mypy --strict, whether man pages and docs are current, the site, the public API

check-style: $(VENV)/.dev
	$(BIN)/ruff check .

check-types: $(VENV)/.dev
	$(BIN)/mypy --strict s3dlio

check-man: $(VENV)/.dev
	$(BIN)/python man/pages.py --check

check-docs: $(VENV)/.dev
	$(BIN)/python docs/check.py
	$(BIN)/python docs/cli_reference.py --check

docs: $(VENV)/.dev      ## the documentation site, into build/site: open build/site/index.html
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet

check-api: $(VENV)/.dev     ## is each changed public signature in the changelog? (docs/versioning.md)
	$(BIN)/python docs/api_snapshot.py

man: $(VENV)/.dev       ## rewrite the man pages from the command's parser
	$(BIN)/python man/pages.py

perf: $(VENV)/.dev      ## benchmarks of every verb on a local nginx
	$(PYTEST) perf --benchmark-only $(PYTEST_ARGS)

perf-compare: $(VENV)/.dev  ## side by side with other libraries, each in a venv of its own
	$(BIN)/python -m perf.compare

perf-curve: $(VENV)/.dev    ## CPU time of one object over its size (--before DIR: beside an older checkout)
	$(BIN)/python -m perf.curve --output

perf-backends: $(VENV)/.dev     ## the S3 transports of S3DLIO_BACKEND side by side
	$(BIN)/python -m perf.backends

perf-tools: $(VENV)/.dev    ## s3-cli beside s5cmd, rclone and aws, bulk verbs beside the Rust package
	$(BIN)/python -m perf.compare_tools

perf-oplog: $(VENV)/.dev    ## what the op-log costs: the same reads with and without it, in turns
	$(BIN)/python -m perf.oplog_cost

perf-scale: $(VENV)/.dev    ## over the CPUs of the client, with a model of what this machine has not (SCALE_ARGS)
	$(BIN)/python -m perf.scale $(SCALE_ARGS)

perf-loaders: $(VENV)/.dev  ## epochs of torch's DataLoader (PERF_ARGS: --others PYTHON)
	$(BIN)/python -m perf.loaders $(PERF_ARGS)

perf-torch: $(VENV)/.dev    ## torch.save, torch.load and safetensors (PERF_ARGS: --s3torch PYTHON)
	$(BIN)/python -m perf.torch_files $(PERF_ARGS)

perf-start: $(VENV)/.dev    ## CPU time of a start: s3-cli --help takes 60 ms at most
	$(BIN)/python -m perf.start --check

perf-fsspec: $(VENV)/.dev   ## file systems of fsspec: parquet, CSV, many files (PERF_ARGS: --s3fs PYTHON)
	$(BIN)/python -m perf.fsspec_files $(PERF_ARGS)

clean:          ## remove what the targets above made in this folder
	rm -rf $(VENV) $(VENV)-3.* build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks .coverage htmlcov
	find s3dlio tests perf man -name __pycache__ -prune -exec rm -rf {} +

# Stamps: pip runs again only when the requirements have changed.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "s3dlio needs Python 3.11 or newer: make PYTHON=python3.x")'
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { echo "Python's venv is missing: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: setup.cfg setup.py pyproject.toml | $(BIN)/python
	$(PIP) -e '.[demo]'
	@touch $@

$(VENV)/.dev: setup.cfg setup.py pyproject.toml | $(BIN)/python
	$(PIP) -e '.[dev,frameworks]' || { echo 'make: without torch, whose tests are skipped' >&2; $(PIP) -e '.[dev,jax,safetensors]'; }
	@touch $@ $(VENV)/.demo
