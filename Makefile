# From a fresh clone: `make walk` (sample data to a verdict per stage) and `make test`; `make quick` while working.
# Needs Python 3.11+ with the venv module, and make. Everything is installed into .venv: for the walk what
# notebooks need, for the tests the rest.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
WALK   := $(VENV)/.ready-walk
READY  := $(VENV)/.ready-test
LAB    := $(VENV)/.ready-lab
BENCH  := $(VENV)/.ready-bench
DOCS   := $(VENV)/.ready-docs
PROSE  := README.md CHANGELOG.md CONTRIBUTING.md SECURITY.md $(wildcard docs/*.md docs/guides/*.md docs/decisions/*.md docs/proofs/*.md)
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c .ci/constraints.txt

# Bytecode is kept even where the shell forbids it: notebooks and tests start hundreds of processes.
unexport PYTHONDONTWRITEBYTECODE

# make walk EXPORT=events.parquet FLAG=new-checkout [PERSONS=… GROUPS=… COLUMN=… ZONE=… PLAN=… STAGE=… AS_OF=…] walks
# your own release; COLUMN=event=event_name,timestamp=ts says which column is which where they are called otherwise
# The values travel in the environment, unread: neither make nor the shell runs what stands in them.
unexport EXPORT FLAG PERSONS GROUPS COLUMN ZONE PLAN STAGE AS_OF ARGS
export CANARYKIT_EXPORT  := $(value EXPORT)
export CANARYKIT_FLAG    := $(value FLAG)
export CANARYKIT_PERSONS := $(value PERSONS)
export CANARYKIT_GROUPS  := $(value GROUPS)
export CANARYKIT_COLUMN  := $(value COLUMN)
export CANARYKIT_ZONE    := $(value ZONE)
export CANARYKIT_PLAN    := $(value PLAN)
export CANARYKIT_STAGE   := $(value STAGE)
export CANARYKIT_AS_OF   := $(value AS_OF)
export CANARYKIT_ARGS    := $(value ARGS)

.PHONY: walk test quick check lab bench calibrate notebooks docs picture constraints lowest newest clean

walk: $(WALK)
	@$(BIN)/python -m canarykit.walk --notebooks notebooks --build build

# Two processes: files stay together, since a session of Spark or a simulated log is made once a file.
test: check
	$(BIN)/python -m pytest -q -n 2 --dist loadfile

# Everything but simulations, Spark, notebooks and type checkers; of a test over several seeds, the first.
quick: $(READY)
	$(BIN)/python -m pytest -q -m "not slow" -n 2 --dist loadfile tests canarykit

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python .ci/verify_types.py
	$(BIN)/python .ci/docstrings.py
	$(BIN)/codespell $(PROSE) canarykit benchmarks
	$(BIN)/proselint check --config .ci/proselint.json $(PROSE)

# make lab ARGS="--no-browser --port 8890"; root (a container) is let in, as Jupyter asks to be told.
lab: $(LAB)
	@set -f; root=; [ "$$(id -u)" -ne 0 ] || root=--allow-root; \
	  exec $(BIN)/jupyter lab notebooks $$root $$CANARYKIT_ARGS

bench: $(BENCH)
	$(BIN)/python -m benchmarks all

calibrate: $(READY)
	$(BIN)/python -m benchmarks calibrate --rows 20000 --keep build/calibrate --table benchmarks/calibration.md
	$(BIN)/python -m benchmarks attacks --rows 4000 --keep build/attacks --table benchmarks/attacks.md

# Run every notebook in place and keep its outputs: what nbval compares and GitHub shows.
notebooks: $(READY)
	$(BIN)/jupyter nbconvert --to notebook --execute --inplace \
	  --ExecutePreprocessor.record_timing=False notebooks/*.ipynb

# The site in build/docs: executes the guides, needs no network, and a warning is an error.
docs: $(DOCS)
	$(BIN)/python -m sphinx -E -W --keep-going -q -b html docs build/docs

picture: $(READY)
	$(BIN)/python .ci/picture.py

# One universal file of versions, without a single address in it. Needs uv.
constraints:
	uv pip compile pyproject.toml --all-extras --universal --no-header --quiet --upgrade -o .ci/constraints.txt

# The quick tests on the lowest releases that pyproject.toml allows, and on the newest there are.
lowest newest:
	$(PYTHON) -m venv build/venv-$@
	build/venv-$@/bin/python -m pip install --quiet --disable-pip-version-check uv
	build/venv-$@/bin/uv pip compile pyproject.toml --python build/venv-$@/bin/python --quiet --only-binary :all: \
	  --resolution $(if $(filter lowest,$@),lowest-direct,highest) --no-header -o build/$@.txt
	build/venv-$@/bin/uv pip install --quiet --python build/venv-$@/bin/python -c build/$@.txt -e ".[walk,quick]"
	build/venv-$@/bin/python -m pytest -q -m "not slow" tests canarykit

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "canarykit needs Python 3.11 or newer; name one with: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(WALK): pyproject.toml .ci/constraints.txt | $(VENV)/.made
	$(PIP) -e ".[walk]"
	@touch $@

$(READY): $(WALK)
	$(PIP) -e ".[test]"
	@! command -v npm >/dev/null || npm install --silent --no-audit --no-fund --prefix $(VENV)/node posthog-node@5 || true
	@touch $@

$(LAB): $(WALK)
	$(PIP) -e ".[lab]"
	@touch $@

$(BENCH): $(WALK)
	$(PIP) -e ".[bench]"
	@touch $@

$(DOCS): $(WALK)
	$(PIP) -e ".[docs]"
	@touch $@

clean:
	rm -rf build docs/notebooks docs/api/generated .pytest_cache .mypy_cache .ruff_cache .hypothesis
