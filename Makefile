# The two commands of the README, and what they need. Every target sets up .venv first if it is not there.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
INSTALLED_DEV := $(VENV)/.installed-dev
WORKERS := 2
test-service: WORKERS := 3
SIDE_BY_SIDE = --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder

# Nothing is told to anybody.
export DO_NOT_TRACK := 1
export PREFECT_SERVER_ANALYTICS_ENABLED := false

.PHONY: help storyboard train up test test-service test-all test-foreign bench-gpu check format clean

help:  ## What there is to make
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

storyboard: $(INSTALLED)  ## A storyboard: make storyboard STORY="Aldar Köse tricks a greedy merchant" [ARGS="--frames 4"]
	@test -n "$$STORY" || { echo 'error: say which story: make storyboard STORY="Aldar Köse tricks a greedy merchant in the bazaar"' >&2; exit 2; }
	@$(BIN)/python -m flows.storyboard $(ARGS) -- "$$STORY"

train: $(INSTALLED)  ## Train Aldar's LoRA on the offline profile: make train [ARGS="--max-train-steps 200"]
	@$(BIN)/python -m flows.training --config configs/training_steppe.yaml $(ARGS)

up: $(INSTALLED)  ## Prefect server, work pool, all deployments and a worker; Ctrl-C ends all of it: make up [ARGS="--port 4201"]
	@$(BIN)/python -m deployments.up $(ARGS)

test: $(INSTALLED_DEV)  ## All tests that need no service, two files at a time: make test [WORKERS=8]
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m 'not gpu and not service and not benchmark'

test-service: $(INSTALLED_DEV)  ## Tests with servers and workers, PostgreSQL and Chromium, three files at a time
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m service

test-all: test test-service  ## Both, and the benchmarks at a small size
	$(BIN)/python -m pytest -m benchmark

test-foreign: $(INSTALLED_DEV)  ## What strangers bring: LoRAs, bases, hubs, buckets, pictures, settings, writers
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) tests/test_foreign_*.py

bench-gpu: $(INSTALLED_DEV)  ## Storyboard, start, training and service beside stock diffusers at SDXL's full size; needs an 80 GB GPU
	$(BIN)/python -m benchmarks.gpu_checks
	$(BIN)/python -m benchmarks.full_size outputs/full-size
	$(BIN)/python -m benchmarks.storyboard --models outputs/full-size --out outputs/bench-gpu.jsonl
	$(BIN)/python -m benchmarks.storyboard --models outputs/full-size --only ours --speed fast --out outputs/bench-gpu.jsonl
	$(BIN)/python -m benchmarks.storyboard --models outputs/full-size --only ours --speed turbo --out outputs/bench-gpu.jsonl
	$(BIN)/python -m benchmarks.storyboard --models outputs/full-size --only ours --size 1344x768 --out outputs/bench-gpu.jsonl
	$(BIN)/python -m benchmarks.storyboard --models outputs/full-size --only ours --size 832x1216 --out outputs/bench-gpu.jsonl
	$(BIN)/python -m benchmarks.storyboard --models outputs/full-size --only ours --low-memory --card 12 --out outputs/bench-gpu.jsonl
	$(BIN)/python -m benchmarks.cold_start --models outputs/full-size --out outputs/bench-gpu.jsonl
	$(BIN)/python -m benchmarks.gpu_training --models outputs/full-size --out outputs/bench-gpu.jsonl
	$(BIN)/python -m benchmarks.service --models outputs/full-size --boards 8

check: $(INSTALLED_DEV)  ## Lint, format, import rules and types, as CI runs them
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache
	$(BIN)/mypy

format: $(INSTALLED_DEV)  ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## Remove the environment and caches; outputs stay
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache *.egg-info

# STORY reaches the shell as an environment variable and not as text in a command, so that quotes in it are only quotes.
export STORY

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: Python 3.11 or newer is needed, $(PYTHON) is $$($(PYTHON) --version 2>&1); name another: make PYTHON=python3.12 …" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(INSTALLED): $(VENV)/bin/python pyproject.toml constraints.txt
	@echo "setting up $(VENV); the first time this downloads PyTorch"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	@touch $@

$(INSTALLED_DEV): $(VENV)/bin/python pyproject.toml constraints.txt
	@echo "setting up $(VENV) with the test tools; the first time this downloads PyTorch"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@ $(INSTALLED)
