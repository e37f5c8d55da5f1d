# Two commands for a newcomer: `make demo`, then `make ui`. Everything works on a fresh machine with Python 3.11+ and pip.
PYTHON ?= python3
PORT ?= 5000
BIN := .venv/bin
INSTALLED := .venv/installed

GC :=

.PHONY: demo ui gc check test test-fast format clean

demo: $(INSTALLED)
	$(BIN)/python -m clickflow demo

ui: $(INSTALLED)
	$(BIN)/python -m clickflow ui port=$(PORT)

# make gc GC="dry_run=true keep_best=1"
gc: $(INSTALLED)
	$(BIN)/python -m clickflow gc $(GC)

check: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: $(INSTALLED)
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-fast: $(INSTALLED)
	$(BIN)/python -m pytest -n 2 -m "not slow"

format: $(INSTALLED)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf .venv .clickflow build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache src/*.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $(INSTALLED)
