# Needs GNU make and Python 3.11 or newer, nothing else: the first target that wants the environment makes it.

PYTHON ?= python3
EXTRAS ?= test,torch
PYTEST_OPTIONS ?= -n auto --maxprocesses 4 --dist loadgroup

VENV := .venv
PY := $(VENV)/bin/python

# The stamp's name says what was installed, by which Python and where, so a changed file, another interpreter and a
# moved checkout all reinstall, whatever the times of the files are.
IDENTITY := import sys; print(*sys.version_info[:2], sys.base_prefix)
KEY := $(shell { cat pyproject.toml constraints.txt; pwd; echo '$(EXTRAS)'; $(PYTHON) -c '$(IDENTITY)'; } 2>&1 \
  | cksum | tr ' ' '-')
STAMP := $(VENV)/installed-$(KEY)

# Tests vary the number of threads themselves; a number from outside would make them compare a run with itself.
unexport OMP_NUM_THREADS OPENBLAS_NUM_THREADS MKL_NUM_THREADS BLIS_NUM_THREADS \
  VECLIB_MAXIMUM_THREADS NUMEXPR_NUM_THREADS
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# One after the other even under `make -j`: measurements of time and memory stay undisturbed, and output in order.
.NOTPARALLEL:
.PHONY: help lint test conform bench clean

help: ## print this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' Makefile

LINT := $(PY) -m ruff check && $(PY) -m ruff format --check && $(PY) -m mypy

lint: $(STAMP) ## ruff and mypy
	@$(LINT)

# A complaint of the linters must not hide a failing test, so the tests run in any case, last.
test: $(STAMP) ## lint, then all tests and doctests
	@status=0; \
	{ $(LINT); } || { status=1; echo 'make test: lint failed; the tests run all the same' >&2; }; \
	$(PY) -m pytest $(PYTEST_OPTIONS) || status=1; \
	exit $$status

conform: $(STAMP) ## judge the convolutions of NumPy, array-api-strict, CuPy and PyTorch
	@$(VENV)/bin/arrconv conform numpy array-api-strict torch --if-present cupy

bench: $(STAMP) ## measure arrconv alone and beside other libraries; BENCH='--row U-Net --dtype float64' for a part
	@$(if $(BENCH),,$(PY) -m benchmarks)
	@$(PY) -m benchmarks.peers $(BENCH)

clean: ## remove the environment and everything generated
	rm -rf $(VENV) build dist site .pytest_cache .hypothesis .mypy_cache .ruff_cache
	find . -name .git -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp is written last, so an install that was broken off is repeated.
$(STAMP):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  version=$$($(PYTHON) --version 2>/dev/null || echo 'not there'); \
	  echo "arrconv needs Python 3.11 or newer, but '$(PYTHON)' is $$version;" \
	    'name another one: make PYTHON=python3.12 ...' >&2; exit 1; }
	@test "$$($(PY) -c 'import pip; $(IDENTITY)' 2>&1)" = "$$($(PYTHON) -c '$(IDENTITY)')" || { \
	  echo 'making $(VENV)'; $(PYTHON) -m venv --clear $(VENV); }
	@rm -f $(VENV)/installed-*
	@echo 'installing arrconv[$(EXTRAS)] into $(VENV)'
	@$(PY) -m pip install --quiet -c constraints.txt -e '.[$(EXTRAS)]'
	@touch $@
