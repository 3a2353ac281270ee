# One set of commands for people and for CI. The first of them makes .venv and installs the pinned versions.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
QUIET := HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1
# Whom benchmarks compare with, in a folder that nothing else sees.
PEERS ?= .venv/peers
MEASURED := $(QUIET) PYTHONPATH=$(abspath $(PEERS)):$(PYTHONPATH)

.PHONY: quickstart install format lint types test docs screenshots gallery peers bench bench-quick bench-learning bench-code bench-explorer gpu-check clean

quickstart: .venv/installed
	$(BIN)/tunelab run quickstart

install: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

format: .venv/installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: .venv/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports

types: .venv/installed
	$(BIN)/pyright

test: .venv/installed
	$(QUIET) $(BIN)/python -m pytest -n 2 --dist worksteal

docs: .venv/installed
	$(BIN)/python scripts/build_command_help.py

screenshots: .venv/installed
	$(BIN)/python scripts/take_screenshots.py

gallery: .venv/installed
	$(BIN)/python scripts/build_gallery.py

peers: $(PEERS)/asked

$(PEERS)/asked: .venv/installed scripts/peers.txt
	mkdir -p $(PEERS)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade --no-deps --target $(PEERS) \
		-r scripts/peers.txt && touch $@ || echo "lm-eval was not installed: B4 to B7 are against transformers alone"

bench: .venv/installed peers
	$(MEASURED) $(BIN)/python scripts/bench.py

bench-quick: .venv/installed peers
	$(MEASURED) $(BIN)/python scripts/bench.py --quick

bench-learning: .venv/installed
	$(QUIET) $(BIN)/python scripts/bench_learning.py

bench-code: .venv/installed
	$(QUIET) $(BIN)/python scripts/bench_code.py

bench-explorer: .venv/installed
	$(QUIET) $(BIN)/python scripts/bench_explorer.py

gpu-check: .venv/installed
	HF_HUB_OFFLINE=1 $(BIN)/python scripts/gpu_check.py

clean:
	rm -rf .venv build dist src/*.egg-info
