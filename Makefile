# Commands of this project. `make` alone lists them.
# Each target that needs packages first installs requirements.lock into .venv (devstack/bootstrap.py).

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help up down demo test test-quick check fmt lock clean install seed load openloop openloop-customers suspension load-report bench bench-usage bench-api bench-growth bench-alone chaos histories reconcile reconcile-stripe push-plans rebuild verify-audit rotate-kek fill-key-hints openapi client

# PYTHON=... overrides the script's choice.
PYTHON = $(shell sh devstack/choose_python.sh)
BIN := .venv/bin
RUN := $(BIN)/python -m
CODE := $(patsubst %/__init__.py,%,$(wildcard */__init__.py)) tests
# A test run starts hundreds of Pythons, and each would compile the whole project anew.
unexport PYTHONDONTWRITEBYTECODE
WORKERS ?= 3  # of two cores: many tests wait for time limits, or for a process to start

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-19s %s\n", $$1, $$2 }'

up: install  ## start everything on this machine; Ctrl-C stops it
	@exec $(RUN) devstack up --with-parent

down: install  ## stop the stack in NP_DATA (default .data)
	@exec $(RUN) devstack down

demo: install  ## walk through one sale on the running stack, step by step
	@exec $(RUN) devstack demo

test: install  ## the whole suite on real PostgreSQL and Valkey; at another instant with AT=2027-01-31T23:59:20Z
	@exec $(if $(AT),$(RUN) devstack.faketime $(AT)) $(RUN) pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

test-quick: install  ## the tests that start no process: rules, parsers, schemas, contracts; a minute
	@exec $(RUN) pytest -m quick -n $(WORKERS) --dist worksteal $(ARGS)

check: install  ## format, lint, types, import contracts, compose.yaml, wording, and a list of long places
	$(BIN)/ruff format --check $(CODE) clients
	$(BIN)/ruff check $(CODE) clients
	$(BIN)/mypy $(CODE)
	$(BIN)/lint-imports
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec compose.yaml
	$(RUN) devstack.proofread

N ?= 10000
seed: install  ## licenses and customers for load tests on the running stack: make seed N=100000 CUSTOMERS=10000
	@exec $(RUN) loadtest.seed --licenses $(N) $(if $(CUSTOMERS),--customers $(CUSTOMERS)) $(ARGS)

load: install  ## a mixed load on the running stack; fails on any error or a broken p99
	@exec $(RUN) loadtest.run --scenario mixed --users 20 --seconds 30 --p99-ms 500 $(ARGS)

openloop: install  ## 10,000 validations a second over 10,000 connections of the running stack; fails on any error
	@exec $(RUN) loadtest.openloop --rate 10000 --connections 10000 --seconds 20 --p99-ms 10 $(ARGS)

openloop-customers: install  ## 1,000 requests a second of 10,000 signed-in customers (make seed CUSTOMERS=10000 before); fails on any error
	@$(RUN) devstack.seeded_sessions
	@exec $(RUN) loadtest.customers --rate 1000 --connections 10000 --seconds 30 --p99-ms 100 $(ARGS)

suspension: install  ## from COMMIT of a suspension to its refusal, under 5,000 validations a second
	@exec $(RUN) loadtest.suspension --rate 5000 --suspensions 100 --p99-ms 250 $(ARGS)

load-report: install  ## all results of load tests as one page with plots
	@exec $(RUN) loadtest.report $(ARGS)

bench: install  ## cost of a validation, compared with FastAPI, Litestar and nginx with LuaJIT; then of a usage report, and of the API
	@$(RUN) bench $(ARGS)
	@$(RUN) bench.usage
	@exec $(RUN) bench.api

bench-usage: install  ## cost of a usage report, compared with FastAPI with SQLAlchemy and a COMMIT each
	@exec $(RUN) bench.usage $(ARGS)

bench-api: install  ## cost of the API's routes for customers, compared with FastAPI, and layer by layer: ARGS=--help
	@exec $(RUN) bench.api $(ARGS)

bench-growth: install  ## only the cost over the number of licenses: ARGS="--rate 10000 --connections 10000 --spread zipf"
	@exec $(RUN) bench.growth $(ARGS)

bench-alone: install  ## start, memory, metrics, and the cost over 1,000 to 1,000,000 licenses in play
	@exec $(RUN) bench.alone $(ARGS)

reconcile: install  ## compare Redis with Postgres now, repair differences, and print the proof: ARGS=--help
	@exec $(RUN) devstack run workers.commands.reconcile_now $(ARGS)

reconcile-stripe: install  ## find what no webhook of Stripe's brought, now; ARGS=--all reads every customer
	@exec $(RUN) devstack run workers.commands.reconcile_stripe $(ARGS)

push-plans: install  ## make Stripe's products and prices agree with the plans; again and again without harm
	@exec $(RUN) devstack run billing_api push-plans $(ARGS)

verify-audit: install  ## check the audit trail against its seals: ARGS="--head POSITION:SEAL"
	@exec $(RUN) devstack run workers.commands.verify_audit $(ARGS)

rotate-kek: install  ## re-encrypt every secret under the first key of NP_KEK, without downtime: ARGS=--help
	@exec $(RUN) devstack run workers.commands.rotate_kek $(ARGS)

fill-key-hints: install  ## give licenses from before key hints theirs, without downtime: ARGS=--help
	@exec $(RUN) devstack run workers.commands.fill_key_hints $(ARGS)

rebuild: install  ## watch the workers fill Redis; ARGS=--empty empties it first
	@exec $(RUN) devstack run workers.commands.rebuild_watch $(ARGS)

chaos: install  ## 5 minutes of kills, full disks, frozen and read-only servers, then prove every count: ARGS="--seconds 600 --seed 7"
	@exec $(RUN) chaos $(ARGS)

histories: install  ## check the Redis functions with thousands of random histories of grants and reports
	@exec $(RUN) pytest tests/core/hotstore/test_histories.py --hypothesis-profile=many $(ARGS)

# The build backend comes with the locked uv: no network, and no environment of its own.
client: install  ## build the Python client's wheel and sdist into dist/
	@exec $(RUN) uv build -q --offline --no-build-isolation --clear --out-dir dist clients/python

openapi: install  ## write docs/api.md, the validator's OpenAPI document and the tables of errors
	@$(RUN) billing_api.server.openapi_files docs
	@exec $(RUN) validator.reference.openapi docs

fmt: install  ## format the code and fix what can be fixed
	$(BIN)/ruff check --fix $(CODE) clients
	$(BIN)/ruff format $(CODE) clients

# Pins stay unless pyproject.toml no longer allows them; UPGRADE=--upgrade takes the newest versions.
COMPILE = $(RUN) uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header $(UPGRADE)
lock: install  ## pin every dependency with its hashes: for development, and without its tools for deploy/
	$(COMPILE) --group devstack --group test pyproject.toml -o requirements.lock
	$(COMPILE) --constraint requirements.lock pyproject.toml -o deploy/requirements.lock

clean:  ## remove caches and .venv; the data in .data stays
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis htmlcov .coverage .coverage.*

install:
	@python="$(PYTHON)"; if [ -z "$$python" ]; then \
		echo "make: no Python 3.11 or newer found: install one (Debian: apt-get install python3 python3-venv), or name it with PYTHON=..." >&2; \
		exit 1; fi; exec "$$python" devstack/bootstrap.py
