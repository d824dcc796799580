# Every target works right after a clone: it makes .venv, builds, and runs.
#   PYTHON=...  the interpreter that .venv is made from (3.11 or later)
#   ARGS=...    handed on to what the target runs: make test ARGS='tests/sync -k lock'

PYTHON ?= python3 python3.13 python3.12 python3.11
ARGS ?=

BIN := .venv/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
NATIVE_SOURCES := pyproject.toml CMakeLists.txt $(shell find native/include src/treadle \
	-name '*.hpp' -o -name '*.pyx' -o -name '*.pxi' -o -name '*.pxd')

.PHONY: help demo test soak bench lint build clean

help:
	@echo 'make demo    run the pipeline over real files, killing a worker on the way'
	@echo 'make test    check the style, check the types, run all tests'
	@echo 'make soak    run the long tests'
	@echo 'make bench   measure against the libraries that treadle replaces'
	@echo 'make lint    only check the style and the types'
	@echo 'make build   only build, into .venv'
	@echo 'make clean   remove all that make has made'

demo: build
	@$(BIN)/treadle demo $(ARGS)

# The tests run whatever lint says, and pytest speaks last.
test: build .venv/.dev
ifeq ($(strip $(ARGS)),)
	@$(BIN)/python tests/side_by_side.py
else
	@status=0; \
	$(MAKE) --no-print-directory lint || status=$$?; \
	$(BIN)/python -m pytest $(ARGS) || status=$$?; \
	exit $$status
endif

soak: build .venv/.dev
	@$(BIN)/python -m pytest -m soak $(ARGS)

bench: build .venv/.bench
	@$(BIN)/treadle bench $(ARGS)

lint: build .venv/.dev
	@status=0; \
	$(BIN)/ruff check . || status=1; \
	$(BIN)/ruff format --check . || status=1; \
	$(BIN)/python -m mypy || status=1; \
	$(BIN)/python -m mypy.stubtest --mypy-config-file pyproject.toml \
		--allowlist tests/stubtest-allowlist.txt treadle || status=1; \
	exit $$status

build: .venv/.treadle

clean:
	rm -rf .venv build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps below say what is in .venv. Editing Python files never outdates them.

.venv/.python:
	@rm -rf .venv; \
	for python in $(PYTHON); do \
		if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
			$$python -m venv .venv && touch $@; exit; \
		fi; \
	done; \
	echo 'make: no Python 3.11 or later found; name one: make PYTHON=/path/to/python3' >&2; exit 2

.venv/.build-tools: .venv/.python pyproject.toml
	@echo 'installing the build tools'
	@$(PIP) install 'pip>=25.1'
	@$(PIP) install --group build
	@touch $@

.venv/.treadle: .venv/.build-tools $(NATIVE_SOURCES)
	@echo 'building treadle'
	@$(PIP) install --no-build-isolation --editable '.[ui]'
	@touch $@

.venv/.dev: .venv/.build-tools pyproject.toml
	@echo 'installing the developer tools'
	@$(PIP) install --group dev
	@touch $@

.venv/.bench: .venv/.treadle
	@echo 'installing the rivals'
	@$(PIP) install 'treadle[bench]'
	@touch $@
