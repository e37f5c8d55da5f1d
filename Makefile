# Two commands for a newcomer: `make demo`, then `make ui`. Everything works on a fresh machine with Python 3.11+ and pip.
PYTHON ?= python3
PORT ?= 5000
BIN := .venv/bin
INSTALLED := .venv/installed

GC :=

# Python 3.11 compiles what has no bytecode anew in every process, and pytest all tests with it.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo ui gc check test test-fast coverage wheel docs docs-serve format clean

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
	$(BIN)/deptry .

test: $(INSTALLED)
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test-fast: $(INSTALLED)
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow" --hypothesis-profile=fast

# One wheel in dist/, with the configs and the pipelines inside; what an earlier build left must not get into it.
wheel: $(INSTALLED)
	rm -rf build
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir dist .

coverage: $(INSTALLED)
	$(BIN)/python -m pytest -n 2 --dist loadfile --cov --cov-report=term --cov-report=html

# The site in site/, from docs/ and the docstrings. Strict: a link or an anchor that leads nowhere fails.
docs: .venv/docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

docs-serve: .venv/docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve --dev-addr 127.0.0.1:$(PORT)

format: $(INSTALLED)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf .venv .venv-lowest .clickflow build dist site htmlcov .coverage .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache src/*.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $(INSTALLED)

# Only what MkDocs needs: the site is made from source text, so neither clickflow nor torch is installed for it.
.venv/docs: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt mkdocs mkdocs-material "mkdocstrings[python]" ruff
	@touch .venv/docs
