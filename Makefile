# `make help` lists the targets. `make run` and `make test` need nothing but this clone.
SHELL := /bin/bash
VENV ?= .venv
export VENV
PY := $(VENV)/bin/python
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup setup-test run smoke smoke-sip test check format lock docs bench soak prompts clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: ## install what `make run` needs
	@scripts/setup.sh run

setup-test:
	@scripts/setup.sh test

run: setup ## broker, gateway, a pendant and an agent; shows presses as they happen (ARGS="--help")
	@exec $(PY) -m sim.run $(ARGS)

smoke: setup ## one press through real parts, audio checked both ways; prints one JSON line
	@exec $(PY) -m sim.smoke $(ARGS)

smoke-sip: setup ## a one-key phone at the edge; worker and daemon killed mid-call; one JSON line
	@exec $(PY) -m sim.smoke_sip $(ARGS)

check: setup-test ## format, lint and types (fast)
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy

test: check ## all checks and all tests
	$(PY) -m pytest $(ARGS)

format: setup-test ## format and mend what can be mended
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

lock: setup-test ## renew requirements.lock from the ranges in pyproject.toml
	$(VENV)/bin/uv pip compile --universal --extra dev --generate-hashes --no-emit-index-url \
	  --no-emit-find-links --no-header --quiet --upgrade pyproject.toml -o requirements.lock

docs: setup-test ## make the parts of docs/ that come from the code
	$(PY) -m scripts.make_docs

bench: setup-test ## measure; results go to docs/benchmarks.md by hand (ARGS="press telemetry …")
	@exec $(PY) -m bench $(ARGS)

clean: ## remove the virtual environment and what runs left behind
	rm -rf $(VENV) data build *.egg-info .mypy_cache .ruff_cache .pytest_cache
