# Two commands do it all: make serve, make test. The rest is here when you need it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# With it, each program that a test starts would compile its modules anew.
unexport PYTHONDONTWRITEBYTECODE
# Most tests wait, for a disk or for a program to start; each process has a PostgreSQL of its own.
SIDE_BY_SIDE := -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: serve test check docs test-all bench lock clean help

help:  ## what each target does
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

$(VENV)/.run: requirements/run.txt requirements/build.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "igob needs Python 3.11 or newer; try: make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements/build.txt -r requirements/run.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	touch $@

$(VENV)/.dev: $(VENV)/.run requirements/dev.txt
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements/dev.txt
	touch $@

serve: $(VENV)/.run  ## run the city on the embedded database, with demo data in an empty log; PORT=8001 for another port
	$(BIN)/igob serve --demo$(if $(PORT), --port $(PORT))

test: $(VENV)/.dev  ## every test that needs Python and make alone
	$(BIN)/python -m pytest -m "not long" $(SIDE_BY_SIDE)

check: $(VENV)/.dev  ## format, lint, types, import rules, sizes, generated docs
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest tests/test_rooms.py
	$(BIN)/python -m api.docs --check

docs: $(VENV)/.dev  ## write the generated parts of docs/, and new descriptions to the catalogue of translations
	$(BIN)/python -m api.docs

test-all: test  ## every test, also those that need Debian's PostgreSQL, Chromium or long runs; installs that
	$(BIN)/python -m tests.install_extras
	$(BIN)/python -m pytest -m long -n 2 --dist worksteal
	IGOB_TEST_EXAMPLES_TIMES=5 $(BIN)/python -m pytest -m "not long" $(SIDE_BY_SIDE) tests/properties tests/api/engine/test_plans.py \
		tests/bench/test_decisions.py tests/bench/test_history.py tests/infra/imports/test_agendas_csv.py
	IGOB_TEST_POSTGRES_BIN=$$($(BIN)/python -m tests.install_extras) \
		$(BIN)/python -m pytest -m "not long" $(SIDE_BY_SIDE) tests/infra/log/test_log.py \
		tests/infra/log/test_committer.py tests/infra/log/test_append.py tests/infra/postgres/test_libpq.py tests/infra/postgres/test_prepared.py \
		tests/infra/log/test_persons.py tests/infra/postgres/test_migrate.py tests/properties/test_committer.py tests/properties/test_views.py \
		tests/projections tests/conformance/test_recorder.py tests/conformance/test_projection_runner.py \
		tests/api/test_appointments.py tests/api/test_people.py tests/api/test_views.py tests/api/access/test_person_lookup.py

bench: $(VENV)/.dev  ## micro-benchmarks; a dated result goes to bench/results/
	$(BIN)/python -m bench.micro

LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header

lock: $(VENV)/.dev  ## pin the requirements again, with hashes and without addresses
	$(LOCK) pyproject.toml -o requirements/run.txt
	$(LOCK) pyproject.toml --extra dev --extra telemetry -o requirements/dev.txt
	$(LOCK) requirements/build.in -o requirements/build.txt

clean:  ## remove the environment; data in .igob/ stays
	rm -rf $(VENV)
