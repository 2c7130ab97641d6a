# Two commands do everything on a fresh machine: `make quickstart` and `make test`.
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
VENV ?= .venv$(if $(filter command,$(origin PYTHON)),-$(notdir $(PYTHON)))
BIN := $(VENV)/bin

# The processes of a test run take the compiled tests from each other, also where a machine's default is to keep none.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help quickstart test quick lint unit test-oldest test-slow test-random test-portable test-ray test-faults chaos test-cluster coverage docs docs-site bench gpu clean

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST)

quickstart: $(VENV)/.installed  ## install, sweep diffusion models and GANs on the embedded digits, read the verdict
	@if [ -d sweeps/quickstart ]; then $(BIN)/gensweep tune --resume quickstart; \
	else $(BIN)/gensweep tune search_spaces/quickstart.yaml; fi
	$(BIN)/gensweep best --compare

test: lint unit  ## install with the development tools, then every check and test; PYTHON=python3.13 with another Python

lint: $(VENV)/.installed-dev  ## style, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# A file's tests stay together, so that what they share is made once; files start in the order of tests/conftest.py.
FILES := --dist loadfile --no-loadscope-reorder
PARALLEL := -n auto --maxprocesses 4 $(FILES)
# Sweeps wait much of their time, so one process more than there are cores; each may hold a Ray cluster, of 2 GB.
CORES := $(shell getconf _NPROCESSORS_ONLN)
SWEEPING := -n $(shell echo $$(( $(CORES) < 3 ? $(CORES) + 1 : 4 ))) $(FILES)

quick: $(VENV)/.installed-dev  ## the tests without Ray, MLflow, waiting and whole trainings, simulations or compilations, on all cores
	$(BIN)/python -m pytest $(PARALLEL) -m "not (ray or mlflow or trains or waits or slow or faults or chaos or cluster)"

unit: $(VENV)/.installed-dev
	$(BIN)/python -m pytest $(SWEEPING) -m "not (slow or faults or chaos or cluster)"

test-oldest:  ## `make quick` with the oldest packages that pyproject.toml allows, in .venv-oldest
	test -d .venv-oldest || $(PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/python -m pip install --quiet uv
	.venv-oldest/bin/uv pip install --quiet --python .venv-oldest --upgrade --resolution lowest-direct --editable '.[dev]'
	@touch .venv-oldest/.installed .venv-oldest/.installed-dev
	$(MAKE) quick VENV=.venv-oldest

test-slow: $(VENV)/.installed-dev  ## statistics that need many repeats: minutes each
	$(BIN)/python -m pytest -m slow

test-random: $(VENV)/.installed-dev  ## the properties on other examples each time, where `make test` takes the same ones; RUNS=10
	for run in $$(seq $(or $(RUNS),1)); do \
	$(BIN)/python -m pytest $(SWEEPING) -m "hypothesis and not (slow or faults or chaos or cluster)" --hypothesis-profile random || exit 1; done

test-ray:  ## the tests of sweeps with another version of Ray, for instance RAY=2.57.1, in an environment of its own
	test -d .venv-ray-$(RAY) || $(PYTHON) -m venv .venv-ray-$(RAY)
	.venv-ray-$(RAY)/bin/python -m pip install --quiet --editable '.[dev]' 'ray==$(RAY)'
	.venv-ray-$(RAY)/bin/python -m pytest $(SWEEPING) tests/run

test-faults: $(VENV)/.installed-dev  ## as root, else with skips: every fault of tests/faults/README.md, injected into a sweep
	$(BIN)/python -m pytest $(SWEEPING) -m "not chaos" tests/faults

chaos: $(VENV)/.installed-dev  ## kill a random process of a sweep every few seconds; SEED=7 MINUTES=10
	SEED=$(SEED) MINUTES=$(MINUTES) $(BIN)/python -m pytest -m chaos tests/faults

# Drills wait most of the time: three clusters at once have room on two cores and 24 GB.
test-cluster:  ## as root: sweeps on clusters whose hosts die, are cut off and come back, in an environment of its own
	test -d .venv-cluster || $(PYTHON) -m venv .venv-cluster
	.venv-cluster/bin/python -m pip install --quiet --editable '.[dev,cluster-tests]'
	.venv-cluster/bin/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder --durations 20 -m cluster tests/cluster

NUMERIC := $(addprefix tests/,test_noise.py nn diffusion gan metrics families training extras/interpret)
PORTABLE := TEST_AMX=0 GENSWEEP_KERNELS=0 ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 OMP_WAIT_POLICY=passive

test-portable: $(VENV)/.installed-dev  ## what computes, as on a processor without AVX-512, AMX or a compiler
	TEST_THREADS=1 $(PORTABLE) $(BIN)/python -m pytest $(PARALLEL) -m "not slow" $(NUMERIC)
	TEST_THREADS=2 $(PORTABLE) $(BIN)/python -m pytest -m "not slow" $(NUMERIC)

coverage: $(VENV)/.installed-dev  ## the branches that `make unit` takes, module by module; Ray's processes are not seen
	$(BIN)/python -m pytest $(SWEEPING) -m "not (slow or faults or chaos or cluster)" --cov --cov-report=term-missing

docs: $(VENV)/.installed-dev  ## write docs/cli.md, docs/reference.md and docs/schema/sweep.json anew from the program
	$(BIN)/python docs/generate.py

# The packages of the extra `docs` alone, without gensweep's own.  With --quiet, mkdocs would forget --strict.
DOCS_PACKAGES := import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["docs"])

docs-site:  ## the documentation as a site in build/site, by mkdocs, in an environment of its own
	test -d .venv-docs || $(PYTHON) -m venv .venv-docs
	.venv-docs/bin/python -c '$(DOCS_PACKAGES)' | xargs .venv-docs/bin/python -m pip install --quiet
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict

bench: $(VENV)/.installed-dev  ## every benchmark but the searches, which take hours, one after the other
	for script in $(filter-out %/measuring.py %/dated_results.py %/gpu.py %/gpu_checks.py %/make_table.py %/search_efficiency.py %/other_programs.py,$(wildcard benchmarks/*.py)); do $(BIN)/python $$script || exit 1; done

# What training needs beside PyTorch, and diffusers to compare with: 40 MB or so, without Ray, Optuna and MLflow.
GPU_PACKAGES := annotated-types click 'diffusers>=0.35,<1' filelock jaxtyping pydantic PyYAML safetensors scipy

gpu:  ## on a machine with a GPU and PyTorch, under nine minutes: right as on a CPU? how fast? in an environment of its own
	test -d .venv-gpu || $(PYTHON) -m venv --system-site-packages .venv-gpu
	.venv-gpu/bin/python -m pip install --quiet $(GPU_PACKAGES)
	.venv-gpu/bin/python -m pip install --quiet --no-deps --editable .
	.venv-gpu/bin/python benchmarks/gpu.py

clean:  ## remove what can be built again (sweeps, runs and data stay)
	rm -rf $(VENV) .venv-* build *.egg-info .mypy_cache .ruff_cache .pytest_cache

$(VENV)/.installed: pyproject.toml
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $(VENV)/.installed $@
