# `make help` lists what this file does. Needs only python3 >= 3.11, pip and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP = $(PYTHON) -m pip --python $(BIN)/python --disable-pip-version-check
INSTALL = $(PIP) install --quiet --require-hashes --only-binary :all:

.DEFAULT_GOAL := help
.PHONY: help demo lab test test-all test-together test-alone test-llm lint format docs bench chaos audit check-deploy lock clean

help:  ## print this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "python3 >= 3.11 is needed, this one is %d.%d: set PYTHON=python3.12, say" % sys.version_info[:2])'
	@$(PYTHON) -m venv --without-pip $(VENV)

# The stamps hold an environment to its lock: a changed lock installs again, an unchanged one costs nothing.
$(VENV)/.run: requirements/run.txt pyproject.toml | $(VENV)/bin/python
	@echo "setting up $(VENV) (once)"
	@$(INSTALL) -r requirements/run.txt
	@$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.run
	@echo "adding the test tools (once)"
	@$(INSTALL) -r requirements/dev.txt
	@touch $@

demo: $(VENV)/.run  ## start a Temporal cluster with workers and load, and the Copilot watching it; ARGS="--fault workers-down"
	@$(BIN)/copilot demo $(ARGS)

lab: $(VENV)/.run  ## run and record all scenarios of the lab, which takes hours; ARGS="--at-once 2"
	@$(BIN)/copilot lab run --all --out lab/recordings $(ARGS)

test-llm: $(VENV)/.dev  ## test explanations with a real model: COPILOT_LLM_BASE_URL, COPILOT_LLM_MODEL
	@$(BIN)/python -m pytest -m llm tests/agents/test_real_model.py $(ARGS)

test: $(VENV)/.dev  ## run the tests on real servers, but for two demos that take minutes
	@$(MAKE) --no-print-directory -j2 BUT="and not long" test-together test-alone

test-all: $(VENV)/.dev  ## run the whole test suite, as CI does
	@$(MAKE) --no-print-directory -j2 test-together test-alone

# What judges times goes first on the processor; the rest is done in its waiting.
# Bytecode is kept even where the environment says it is not: dozens of processes would compile the same again.
# More processes than cores: a third of the time is waiting for servers, and what waits begins first.
test-together test-alone: export PYTHONDONTWRITEBYTECODE =
test-together: $(VENV)/.dev
	@nice -n 15 $(BIN)/python -m pytest -n 5 --dist worksteal -m "not alone" $(ARGS)

test-alone: $(VENV)/.dev
	@$(BIN)/python -m pytest -n 2 --dist loadfile -m "alone $(BUT)" -o cache_dir=.pytest_cache/alone $(ARGS)

lint: $(VENV)/.dev  ## check format, types, import contracts, size and words
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/python -m tools.ratchet
	@$(BIN)/python -m tools.words
	@$(BIN)/python -m tools.licences

format: $(VENV)/.dev  ## format the code
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

docs: $(VENV)/.run  ## write the documents that are generated from the code
	@$(BIN)/python -m tools.docs.signals > docs/signals.md
	@$(BIN)/python -m tools.docs.explanations > docs/explanations.md
	@$(BIN)/python -m tools.docs.rules > docs/rules.md
	@$(BIN)/python -m tools.docs.configuration > docs/configuration.md
	@$(BIN)/python -m tools.docs.telemetry > docs/telemetry.md
	@$(BIN)/python -m tools.docs.helm > deploy/helm/temporal-sre-copilot/README.md
	@$(BIN)/python -m tools.docs.api_examples
	@$(BIN)/python -m tools.docs.benchmark > docs/benchmark.md
	@$(BIN)/python -m copilot.grafana.files deploy/grafana
	@$(BIN)/python -m tools.licences --write
	@$(BIN)/python -m tools.sbom > requirements/temporal-sre-copilot.cdx.json

bench: $(VENV)/.dev  ## measure speed and memory, as a table
	@$(BIN)/python -m benchmarks

chaos: $(VENV)/.run  ## kill, stop and fill what the Copilot depends on and count broken promises, 20 minutes; ARGS=--short
	@$(BIN)/python -m chaos $(ARGS)

# Tools whose pins clash with ours, or that only look at our locks, each in an environment of its own.
.%/.made: requirements/%.txt
	@echo "setting up .$* (once)"
	@$(PYTHON) -m venv --clear --without-pip .$*
	@$(INSTALL) --no-deps --no-compile -r $<
	@touch $@

.checkov/.made .audit/.made: BIN = $(@D)/bin

audit: .audit/.made  ## ask for known vulnerabilities of the locked packages
	@$(PYTHON) -m tools.audit

check-deploy: .checkov/.made  ## check deployment files with terraform, promtool, helm and checkov
	@deploy/check

COMPILE = uv pip compile -q --universal --python-version 3.11 --generate-hashes --upgrade --only-binary :all: \
  --no-header --no-annotate --no-emit-index-url --no-emit-find-links

lock:  ## update the pinned dependencies (needs uv)
	@$(COMPILE) pyproject.toml --extra embedded --group build -o requirements/run.txt
	@$(COMPILE) pyproject.toml --extra embedded --group dev -o requirements/dev.txt
	@$(COMPILE) pyproject.toml --group deploy -o requirements/deploy.txt
	@$(COMPILE) --group checkov -o requirements/checkov.txt
	@$(COMPILE) --group audit -o requirements/audit.txt

clean:  ## remove the environment and caches
	@rm -rf $(VENV) .audit .checkov .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
