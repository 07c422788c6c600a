PYTHON ?= python3
VENV := .venv
# Two stages: what a user needs to see the demo, and on top of it what checks and tests need.
DEMO := $(VENV)/.demo
READY := $(VENV)/.ready
BIN := $(VENV)/bin
TYPED := src tests $(wildcard bench/*.py demo.py desk.py worker.py workflows/*.py activities/*.py)
# What runs against the built wheel: tests of the library alone, and of an application that it makes.
WHEEL_TESTS ?= tests/unit tests/cli/test_init.py
# Tests of the runtime, whose runs can be replayed at each of their tasks.
REPLAYED := $(addprefix tests/,agent_loop approvals bounds cancellation effects history models neighbours runs security sessions streaming tools)
# Tests mostly wait for a server, a timer or a process: more of them run at a time than a small machine has cores. A file
# stays in one process, and files go in their own order: the slow ones (app, cli, crash) are not left for the end.
JOBS ?= 4
PYTEST = $(BIN)/pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

# Tests start hundreds of processes: each would compile all of Handfast again where nothing is kept.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo demo-crash quick quick-tests test test-slow test-replayed check types wheel collected scenarios api dialects promises \
	record figures crash-matrix soak mutants bench clean

help: ## Say what there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(DEMO) ## Watch agents ask before they delete or pay something (ARGS="..." for its options)
	@$(BIN)/python demo.py $(ARGS)

demo-crash: $(DEMO) ## The same, with the worker killed twice on the way
	@$(BIN)/python demo.py --crash $(ARGS)

quick: $(READY) ## Types, lint, the pure tests and one test of each theme, in two minutes: before each commit
	@$(MAKE) --no-print-directory -j2 check quick-tests

quick-tests: $(READY)
	$(BIN)/pytest -q -n 2 --dist loadfile -m quick

# The checks and the wheel take one process each, for about as long: side by side they take half the time. Tests are
# compiled meanwhile: in a fresh clone each of the processes below would do it for itself, all at the same moment.
test: $(READY) ## Run every check and every test, and the tests against the built wheel
	$(MAKE) --no-print-directory -j3 check wheel collected
	$(PYTEST) --junitxml=build/tests.xml

test-slow: $(READY) ## Run the tests beside six busy processes, as on a machine with other work (TESTS="tests/cli" for some)
	$(BIN)/python tests/support/under_load.py 6 $(PYTEST) $(TESTS)

test-replayed: $(READY) ## Run the tests of the runtime with every run replayed at each of its tasks (slow; not in `test`)
	HANDFAST_TEST_CACHE=0 $(PYTEST) $(or $(TESTS),$(REPLAYED))

check: types ## Types, lint, format, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(READY)
	$(BIN)/mypy --explicit-package-bases $(TYPED)

wheel: $(READY) ## Build the wheel, look into it, and run tests against it
	$(BIN)/python tests/wheel/check_wheel.py $(WHEEL_TESTS)

collected: $(READY)
	@$(BIN)/pytest -qq --collect-only >$(VENV)/collected.log || { cat $(VENV)/collected.log; exit 1; }

scenarios: $(READY) ## Write docs/scenarios.md from the tests
	@cd tests && ../$(BIN)/python -m support.scenarios

api: $(READY) ## Write docs/api.md and docs/errors.md from the code
	@cd tests && ../$(BIN)/python -m support.api_page && ../$(BIN)/python -m support.errors_page

dialects: $(READY) ## Write the tables of model servers in docs/models.md from what their fakes answer
	@cd tests && ../$(BIN)/python -m support.dialects_table

record: $(READY) ## Record the wait states that no release has recorded yet, for the tests of replay
	$(BIN)/python tests/replay/record.py $(SCENES)

figures: $(READY) ## Write the figures of the source at the end of ARCHITECTURE.md
	$(BIN)/python bench/figures.py ARCHITECTURE.md

promises: $(READY) ## Write into docs/reliability.md what the last `make test` says of each promise
	@cd tests && ../$(BIN)/python -m support.promises_page ../build/tests.xml

crash-matrix: $(READY) ## Kill workers at every message that matters, and keep the table in docs/reliability.md
	@rm -rf build/crash-matrix
	HANDFAST_MATRIX=$(CURDIR)/build/crash-matrix $(BIN)/pytest -q -n 2 --dist loadfile tests/crash/test_matrix_*.py
	@cd tests && ../$(BIN)/python -m support.crash.matrix_page ../build/crash-matrix

soak: $(READY) ## Kill workers and lose messages for some minutes (MINUTES=5 SEED=1 ARGS="--json --only mixed")
	@cd tests && ../$(BIN)/python -m support.crash.soak --minutes $(or $(MINUTES),5) $(if $(SEED),--seed $(SEED)) $(ARGS)

bench: $(READY) ## Measure long runs and a long session: histories, memory, time (TURNS=200 for a short look)
	@$(BIN)/python bench/long_runs.py $(TURNS)
	@$(BIN)/python bench/long_session.py $(TURNS)

mutants: $(READY) ## Plant known bugs in copies of the source: each has to turn a named test red (ONLY="words" for some)
	@PYTHONPATH=tests $(BIN)/python -m mutants $(ONLY)

clean: ## Remove the environment, caches and built files (the data in .handfast stays)
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(DEMO): pyproject.toml constraints.txt .ci/prepare
	@.ci/prepare demo $(PYTHON)
	@touch $@

# After the first stage, and without doing it again where only that one is there.
$(READY): $(DEMO) tests/support/mcp/package.json
	@.ci/prepare all $(PYTHON)
	@touch $@
