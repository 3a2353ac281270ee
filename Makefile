# One set of commands for people and for CI. The first of them makes .venv and installs the pinned versions.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
QUIET := HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1

.PHONY: quickstart install format lint types test docs screenshots gallery bench bench-learning bench-code bench-explorer bench-generation bench-training bench-study bench-quick gpu-check clean

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

bench: bench-code bench-learning bench-explorer
	$(QUIET) $(BIN)/python scripts/bench_generation.py --rounds 3 --requests 16 --models llama-13M --batches 1 8
	$(QUIET) $(BIN)/python scripts/bench_training.py --rounds 3 --only '*-32k-masked'
	$(QUIET) $(BIN)/python scripts/bench_study.py --rounds 1

bench-quick: .venv/installed
	$(QUIET) $(BIN)/python scripts/bench_code.py --programs 40
	$(QUIET) $(BIN)/python scripts/bench_explorer.py --quick
	$(QUIET) $(BIN)/python scripts/bench_generation.py --quick
	$(QUIET) $(BIN)/python scripts/bench_training.py --quick

bench-learning: .venv/installed
	$(QUIET) $(BIN)/python scripts/bench_learning.py

bench-code: .venv/installed
	$(QUIET) $(BIN)/python scripts/bench_code.py

bench-explorer: .venv/installed
	$(QUIET) $(BIN)/python scripts/bench_explorer.py

bench-generation: .venv/installed
	$(QUIET) $(BIN)/python scripts/bench_generation.py

bench-training: .venv/installed
	$(QUIET) $(BIN)/python scripts/bench_training.py

bench-study: .venv/installed
	$(QUIET) $(BIN)/python scripts/bench_study.py

gpu-check: .venv/installed
	HF_HUB_OFFLINE=1 $(BIN)/python scripts/gpu_check.py

clean:
	rm -rf .venv build dist src/*.egg-info
