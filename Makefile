# Every target makes the environment it needs itself: .venv, from the hashed locks in requirements/.
# PYTHON=… picks the interpreter, ARGS=… goes on to the tool a target runs.

MAKEFLAGS += --no-builtin-rules --no-print-directory
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test check lint types aws cover format bench soak crashtest lambda docs lock clean

BIN := .venv/bin
PROJECT := pyproject.toml requirements/install.py requirements/bootstrap.txt requirements/build.txt
PYTEST := $(BIN)/pytest -n logical --maxprocesses 4 --dist worksteal \
          $(if $(OUTDIAL_TEST_REQUIRE_ALL),--require-all)
LOCK := $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header \
        --python-version 3.11 $(ARGS)

help: ## list the targets
	@sed -n 's/^\([a-z.]*\):.*## /\1	/p' $(MAKEFILE_LIST) | expand -t 12

demo: .venv/runtime.stamp ## run the main job on examples/contacts.csv against the simulator
	@$(BIN)/outdial demo $(ARGS)

test: .venv/dev.stamp .venv/ministack.stamp .venv/fakesnow.stamp .venv/deployment.stamp ## run the tests, on SQLite and on a real PostgreSQL
	@$(PYTEST) $(ARGS)

check: lint types aws cover ## format, lint, types, and the tests with their coverage

lint: .venv/dev.stamp ## check format and style
	@$(BIN)/ruff format --check --quiet || { echo 'Not formatted as agreed: make format' >&2; exit 1; }
	@$(BIN)/ruff check --quiet

types: .venv/dev.stamp ## check types, strictly
	@$(BIN)/mypy --no-error-summary

# The crash test and the outages of files and of AWS choose their stacks themselves.
aws: .venv/dev.stamp .venv/ministack.stamp ## run the system tests on SQS, Lambda and PostgreSQL, emulated
	@SYSTEMTEST_STACK=aws $(PYTEST) systemtest -k 'not crash and not locked and not disk and not aws_hangs' $(ARGS)

# Both limits are checked after the tests and say nothing where they hold, so that the tests' own
# summary stays the last line.
cover: .venv/dev.stamp .venv/ministack.stamp .venv/fakesnow.stamp .venv/deployment.stamp ## run the tests and check branch coverage: core/ 100 %, the rest 90 %
	@$(PYTEST) --cov --cov-report=term $(ARGS)
	@$(call covered,100,--include='*/outdial/core/*')
	@$(call covered,90,--omit='*/outdial/core/*')

covered = report=$$($(BIN)/coverage report --fail-under=$(1) $(2)) || \
          { printf '%s\nCoverage is under $(1) %%\n' "$$report" >&2; exit 1; }

format: .venv/dev.stamp ## format, and mend what can be mended by machine
	@$(BIN)/ruff check --fix-only --quiet
	@$(BIN)/ruff format

bench: .venv/runtime.stamp ## measure the pipeline, end to end
	@$(BIN)/python benchmarks/pipeline.py $(ARGS)

soak: .venv/runtime.stamp ## 100,000 calls at full speed: latency, memory, and the audit
	@$(BIN)/python -m benchmarks.soak $(ARGS)

crashtest: .venv/dev.stamp .venv/ministack.stamp ## kill processes among all faults (CALLS= KILLS= SEED= STACK=)
	@PYTHONPATH=. $(BIN)/python -m systemtest.crashtest $(if $(CALLS),--calls $(CALLS)) \
	  $(if $(KILLS),--kills $(KILLS)) $(if $(SEED),--seed $(SEED)) $(if $(STACK),--stack $(STACK)) \
	  $(ARGS)

lambda: .venv/runtime.stamp ## build the webhook Lambda's archive, dist/webhook-lambda.zip
	@$(BIN)/python deploy/build_lambda.py $(ARGS)

docs: .venv/dev.stamp ## write the pages that are made from the code
	$(BIN)/python -m outdial.analytics.documentation > docs/metrics.md
	$(BIN)/python -m outdial.cli.configuration_page > docs/configuration.md

lock: .venv/dev.stamp ## resolve the dependencies anew (ARGS=--upgrade: to the newest versions)
	$(LOCK) pyproject.toml --group dev -o requirements/dev.txt
	$(LOCK) pyproject.toml -o requirements/runtime.txt
	$(LOCK) --group bootstrap -o requirements/bootstrap.txt
	$(LOCK) --group ministack -o requirements/ministack.txt
	$(LOCK) --group fakesnow -o requirements/fakesnow.txt
	$(LOCK) --group deployment -o requirements/deployment.txt
	$(LOCK) pyproject.toml --extra postgres --extra aws --extra snowflake \
	  -c requirements/dev.txt -o requirements/production.txt
	$(LOCK) --group build -c requirements/dev.txt -o requirements/build.txt

clean: ## remove the environment and everything that tools left behind
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage .coverage.* build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: .venv
.venv: .venv/dev.stamp ## make the environment for development

.venv/ministack.stamp .venv/fakesnow.stamp .venv/deployment.stamp: .venv/dev.stamp
.venv/%.stamp: requirements/%.txt $(PROJECT)
	@for python in $(PYTHON) python3.11 python3.12 python3.13 python3.14 python3; do \
	  if "$$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; \
	  then exec "$$python" requirements/install.py $*; fi; \
	done; \
	echo 'No Python 3.11 or newer with venv was found. On Debian or Ubuntu:' \
	     'apt-get install python3-venv; otherwise: make PYTHON=/path/to/python3.x' >&2; exit 1
