# Two commands for a newcomer: `make demo`, then `make ui`. Everything works on a fresh machine with Python 3.11+ and pip.
PYTHON ?= python3
PORT ?= 5000
BIN := .venv/bin
INSTALLED := .venv/installed
HOME_FOLDER := $(if $(CLICKFLOW_HOME),$(CLICKFLOW_HOME),$(CURDIR)/.clickflow)

GC :=

.PHONY: demo ui gc check test test-fast format clean

demo: $(INSTALLED)
	$(BIN)/python pipelines/demo.py

ui: $(INSTALLED)
	@mkdir -p $(HOME_FOLDER)
	@echo "MLflow UI on http://127.0.0.1:$(PORT) (make ui PORT=5001 for another port; Ctrl-C ends it)"
	$(BIN)/mlflow server --backend-store-uri sqlite:///$(HOME_FOLDER)/mlflow.db --artifacts-destination $(HOME_FOLDER)/artifacts --host 127.0.0.1 --port $(PORT) --workers 1

# make gc GC="dry_run=true keep_best=1"
gc: $(INSTALLED)
	$(BIN)/python pipelines/gc.py $(GC)

check: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: $(INSTALLED)
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

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
