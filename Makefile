# make run    start the server on its embedded default (domain localhost, SQLite)
# make test   run all tests
# make check  lint, types, fresh reference pages, well-named news fragments
# make crash  kill servers and databases under load, 200 times each
# make simulate  play whole clusters with users and faults, SIMULATE_SEEDS=1000 of them
# make docs   write the reference pages and sql/ from the declarations
# make bench  measure beside Prosody and ejabberd (benchmarks/README.md)
# make bench-memory  watch memory over ten minutes of logins and logouts
PYTHON ?= python3
VENV   ?= .venv
CONFIG ?= mongoosetw.toml
TESTS  ?= tests
BIN    := $(VENV)/bin
SOURCES := mongoosetw modules tests benchmarks examples twisted/plugins

.DEFAULT_GOAL := help
.PHONY: help run test check docs bench bench-memory format clean crash simulate

help:
	@sed -n 's/^# make /make /p' Makefile

$(BIN)/python:
	$(PYTHON) -m venv $(VENV) || { [ "$$(id -u)" = 0 ] && rm -rf $(VENV) \
	  && apt-get update -qq && apt-get install -y -qq python3-venv && $(PYTHON) -m venv $(VENV); }

$(VENV)/.run: setup.cfg pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(VENV)/.test: setup.cfg pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test]'
	@touch $@ $(VENV)/.run

run: $(VENV)/.run
	@[ -e $(CONFIG) ] || [ $(CONFIG) != mongoosetw.toml ] || cp docs/mongoosetw.example.toml $(CONFIG)
	$(BIN)/twistd -n mongoose --config $(CONFIG)

# PostgreSQL's server programs and Redis are needed for some tests; nothing is left running.
test: $(VENV)/.test
	@ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null || [ "$$(id -u)" != 0 ] \
	  || { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq postgresql; } >/dev/null </dev/null
	@command -v redis-server >/dev/null || [ "$$(id -u)" != 0 ] \
	  || { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq redis-server; } >/dev/null </dev/null
	@$(BIN)/python -m mongoosetw.testing.postgres -- $(BIN)/python -m twisted.trial $(TESTS)

check: $(VENV)/.test
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/mypy --strict mongoosetw modules benchmarks
	$(BIN)/python -m mongoosetw.docs --check
	@$(BIN)/python -m twisted.trial --reporter=text tests.test_conventions
	@$(BIN)/towncrier build --draft --version next >/dev/null 2>&1 \
	  || { echo "newsfragments/: a second one of an issue and kind is N.feature.1.md and so on"; exit 1; }

# TESTS named here are scenarios; without any, all are run and the tables are written.
BENCH_TESTS := $(if $(filter file,$(origin TESTS)),,$(TESTS))
ARCHIVE ?= $(MAM)
ROUNDS  ?= 3
WRITE   ?= $(if $(SERVERS)$(BENCH_TESTS),,1)
bench: SECONDS ?= 8
bench: $(VENV)/.run
	$(BIN)/python -m benchmarks.compare --servers "$(SERVERS)" --tests "$(BENCH_TESTS)" \
	  --rounds $(ROUNDS) --seconds $(SECONDS) \
	  $(if $(filter 1,$(ARCHIVE)),--archive) $(if $(filter 1,$(WRITE)),--write) $(BENCH_OPTIONS)

MINUTES ?= 10
bench-memory: $(VENV)/.run
	$(BIN)/python -m benchmarks.memory --minutes $(MINUTES)

docs: $(VENV)/.test
	$(BIN)/python -m mongoosetw.docs
	$(BIN)/python -m tests.test_sql

# The long form of what the tests do with a few kills.
crash: $(VENV)/.test
	CRASH_KILLS=$${CRASH_KILLS:-200} $(BIN)/python -m twisted.trial tests.integration.crash

# SIMULATE_SEED=123 plays one again; SIMULATE_LONG=1: up to 3000 users, up to 50 nodes.
SIMULATE_SEEDS ?= 1000
simulate: $(VENV)/.test
	$(BIN)/python -m tests.simulation $(if $(SIMULATE_SEED),$(SIMULATE_SEED) --events,--seeds 1-$(SIMULATE_SEEDS)) \
	  $(if $(SIMULATE_LONG),--long) $(if $(SIMULATE_REDIS),--redis)

format: $(VENV)/.test
	$(BIN)/ruff check --fix $(SOURCES)

clean:
	rm -rf build dist *.egg-info _trial_temp* .mypy_cache .ruff_cache .hypothesis
