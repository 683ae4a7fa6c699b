# `make serve` and `make test` need Python 3.11+ and nothing else; they set up .venv themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: help install serve test unit lint samples bench lock clean

help: ## Show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(VENV)/.base: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "mlserve needs Python 3.11 or newer; set PYTHON=")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing mlserve into $(VENV) ..."
	@$(PIP) --editable .
	@touch $@

$(VENV)/.test: $(VENV)/.base
	@echo "installing what the tests need ..."
	@$(PIP) --editable '.[test,transformers,onnx,flower,otel]'
	@touch $@

install: $(VENV)/.base ## Create .venv with the base dependencies

serve: $(VENV)/.base ## Start Redis, workers and the API; Ctrl-C stops them
	@exec $(BIN)/mlserve serve $(ARGS)

test: lint unit ## Lint, types, import contracts and all tests
	$(BIN)/python -m pytest tests/integration tests/e2e -m 'not alone' --numprocesses 2 --dist loadfile
	$(BIN)/python -m pytest tests/integration tests/e2e -m alone

# Some tests wait for something: a process more than there are cores.
unit: $(VENV)/.test ## The unit tests alone, on all cores
	$(BIN)/python -m pytest tests/unit --dist loadfile \
		--numprocesses $$($(BIN)/python -c 'import os; print(os.cpu_count() + 1)')

lint: $(VENV)/.test ## ruff, mypy and import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

samples: $(VENV)/.test ## Fetch the data and train the sample models again
	$(BIN)/python scripts/build_samples.py

bench: $(VENV)/.base ## Measure against other servers (needs wrk); see docs/benchmarks.md
	$(BIN)/python -m benchmarks.run $(ARGS)

lock: $(VENV)/.test ## Write the installed versions to constraints.txt
	$(BIN)/python -m pip freeze --exclude-editable | sed "s/+cpu//" > constraints.txt

clean: ## Remove the environment and what the service has stored
	rm -rf $(VENV) .bench .mlserve .data build *.egg-info
