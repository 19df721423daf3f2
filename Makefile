# `make demo` and `make test` work on a fresh clone with Python 3.11 and make alone.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RLGPT := $(BIN)/rlgpt

.PHONY: help venv demo test lint types bench bench-workers bench-learner bench-bus bench-crafter bench-luanti bench-small-model clean

help:
	@echo "make demo    install, then run RL-GPT on Mountain Car to its end, offline"
	@echo "make test    lint, types and tests"
	@echo "make bench   the measurements of tests/benchmarks: bench-workers, bench-learner, bench-bus"
	@echo "make bench-crafter, bench-luanti   the worlds, where their packages are installed"
	@echo "make bench-small-model   the whole run with a real, small model on the CPU (some minutes)"
	@echo "make venv    only install, into $(VENV)"

venv: $(VENV)/.installed

# torch's default wheel on Linux brings CUDA libraries of several GB. TORCH_INDEX names an index with another build, such as the CPU one.
TORCH_INDEX ?=
$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; name one: make PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) -c constraints.txt -e '.[dev]'
	@touch $@

demo: venv
	$(RLGPT) launch mountain_car

# One process a core; a file's tests stay together, since they share what is slow to make.
test: lint types
	$(BIN)/python -m pytest -q -n auto --dist loadfile

lint: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# mypy finds rlgpt.* through a folder of links, since the packages are mapped from top-level folders.
types: venv
	@mkdir -p build/typing/rlgpt
	@for package in agents bus envs runtime scenarios; do ln -sfn ../../../$$package build/typing/rlgpt/$$package; done
	MYPYPATH=build/typing $(BIN)/mypy -p rlgpt

bench: bench-workers bench-learner bench-bus

bench-workers: venv
	$(BIN)/python tests/benchmarks/bench_workers.py

# The second one compares the CPU with a GPU, where there is one.
bench-learner: venv
	$(BIN)/python tests/benchmarks/bench_learner.py
	$(BIN)/python tests/benchmarks/bench_device.py

# Against Redis Streams, NATS JetStream and AutoGen's gRPC runtime, as far as they are installed: the script installs them.
bench-bus: venv
	$(BIN)/python tests/benchmarks/bench_bus.py
	$(BIN)/python tests/benchmarks/bench_bus.py --settings million 1M 3M --runs 1
	$(BIN)/python tests/benchmarks/bench_bus_slow.py --minutes 2
	bash tests/benchmarks/install_peers.sh
	$(BIN)/python tests/benchmarks/bench_bus_peers.py

# Not part of `bench`: they need the extra [crafter]. The second plays 100 worlds with the hand-written controller, some minutes.
bench-crafter: venv
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[crafter]'
	$(BIN)/python tests/benchmarks/bench_crafter.py
	$(BIN)/python tests/benchmarks/bench_crafter_by_hand.py

# Not part of `bench`: it needs the Luanti server (docs/environments.md).
bench-luanti: venv
	$(BIN)/python tests/benchmarks/bench_luanti.py

# Not part of `bench`: it takes its budget of minutes, and installs a model and its server of 200 MB, into a place of their own under build/.
bench-small-model: venv
	$(BIN)/python tests/benchmarks/bench_small_model.py

clean:
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
