# Each target works as the first command typed on a machine with Python 3.11 and make.
PYTHON ?= python3
VENV := .venv
STUDIO_VENV := .venv-studio
BIN := $(VENV)/bin
# one thread per test process: two workers on two cores must not fight over them
TEST_ENV := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false MPLBACKEND=Agg
TEST_WORKERS ?= 2
DEMO_DIR ?= demo-out

.PHONY: help setup demo test lint studio up bench clean
help:
	@echo "make demo    set up, then the whole loop on drawn figures (results in $(DEMO_DIR)/)"
	@echo "make studio  a real Label Studio with the backend connected, on this machine"
	@echo "make up      Label Studio, Redis, backend, a worker and the beat on this machine, for trying"
	@echo "make test    set up, then every test"
	@echo "make lint    ruff, mypy and import-linter"
	@echo "make bench   measure speed; prints tables, asserts nothing"

setup: $(VENV)/.complete

$(VENV)/.complete: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; name it with PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

# Label Studio pins what we do not, so it lives alone (docs/decisions/0003-label-studio-in-its-own-venv.md)
$(STUDIO_VENV)/.complete: docker/label-studio-constraints.txt
	$(PYTHON) -m venv $(STUDIO_VENV)
	$(STUDIO_VENV)/bin/python -m pip install --quiet --upgrade pip
	$(STUDIO_VENV)/bin/python -m pip install --quiet --constraint docker/label-studio-constraints.txt label-studio
	@touch $@

demo: $(VENV)/.complete
	$(BIN)/annotator demo $(DEMO_DIR)

test: $(VENV)/.complete $(STUDIO_VENV)/.complete
	$(TEST_ENV) $(BIN)/python -m pytest -n $(TEST_WORKERS) --dist loadgroup $(PYTEST_ARGS)

lint: $(VENV)/.complete
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

studio: $(VENV)/.complete $(STUDIO_VENV)/.complete
	$(BIN)/python -m ml_backend.studio

up: $(VENV)/.complete $(STUDIO_VENV)/.complete
	$(BIN)/python -m ml_backend.up

bench: $(VENV)/.complete
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) $(STUDIO_VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
