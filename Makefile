# From a fresh clone: `make walk` (sample data to a verdict per stage) and `make test`.
# Needs Python 3.11+ with the venv module, and make. Everything is installed into .venv.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
BENCH  := $(VENV)/.ready-bench

# make walk EXPORT=events.parquet FLAG=new-checkout [PERSONS=… GROUPS=… PLAN=… STAGE=… AS_OF=…] walks your own release
# The values travel in the environment, unread: neither make nor the shell runs what stands in them.
unexport EXPORT FLAG PERSONS GROUPS PLAN STAGE AS_OF ARGS
export CANARYKIT_EXPORT  := $(value EXPORT)
export CANARYKIT_FLAG    := $(value FLAG)
export CANARYKIT_PERSONS := $(value PERSONS)
export CANARYKIT_GROUPS  := $(value GROUPS)
export CANARYKIT_PLAN    := $(value PLAN)
export CANARYKIT_STAGE   := $(value STAGE)
export CANARYKIT_AS_OF   := $(value AS_OF)
export CANARYKIT_ARGS    := $(value ARGS)

.PHONY: walk test check lab bench calibrate notebooks picture constraints clean

walk: $(READY)
	@$(BIN)/python -m canarykit.walk --notebooks notebooks --build build

test: check
	$(BIN)/python -m pytest -q

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# make lab ARGS="--no-browser --port 8890"; root (a container) is let in, as Jupyter asks to be told.
lab: $(READY)
	@set -f; root=; [ "$$(id -u)" -ne 0 ] || root=--allow-root; \
	  exec $(BIN)/jupyter lab notebooks $$root $$CANARYKIT_ARGS

bench: $(BENCH)
	$(BIN)/python -m benchmarks all

calibrate: $(READY)
	$(BIN)/python -m benchmarks calibrate --rows 20000 --table benchmarks/calibration.md

# Run every notebook in place and keep its outputs: what nbval compares and GitHub shows.
notebooks: $(READY)
	$(BIN)/jupyter nbconvert --to notebook --execute --inplace \
	  --ExecutePreprocessor.record_timing=False notebooks/*.ipynb

picture: $(READY)
	$(BIN)/python .ci/picture.py

# One universal file of versions, without a single address in it. Needs uv.
constraints:
	uv pip compile pyproject.toml --all-extras --universal --no-header --quiet --upgrade -o .ci/constraints.txt

$(READY): pyproject.toml .ci/constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "canarykit needs Python 3.11 or newer; name one with: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[test,lab]" -c .ci/constraints.txt
	@touch $@

$(BENCH): $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[bench]" -c .ci/constraints.txt
	@touch $@

clean:
	rm -rf build .pytest_cache .mypy_cache .ruff_cache .hypothesis
