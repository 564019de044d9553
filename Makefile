# make demo    a provider over real files, and a user that echoes, finds, gets and moves through it
# make test    everything that CI runs; installs the peers of the interop tests where it may
# make test-all  unit and in-memory tests on every Python from 3.11 up that this machine has
# make lowest  the tests with the lowest versions of pydicom and of the extras that pyproject.toml allows
# make check   what make test runs, without installing peers
# make unit, make interop  the tests without and with other implementations, the quick way
# make quick   under a minute: the tests without the mark slow, which tests/conftest.py puts on folders that start processes,
#              measure memory or walk at random; the contract in memory only; few examples of each property
# make coverage  the lines and branches that the tests run, except those of the interop tests
# make strict  all tests in the development mode of Python and asyncio, every warning an error: as check runs them
# make bench   the same work on aiodimse, DCMTK, pynetdicom and bare asyncio: one table (benchmarks/README.md)
# make bench-micro  microseconds on the floors below the network
# make scoreboard  what a peer, a disk or a deadline can do, as figures (SCOREBOARD=long for the long profile); what floods take
#              from an honest peer is a part of it: python -m scoreboard.budgets floods searches ...
# make fuzz    atheris looks for bytes that a decoder does not take well, until stopped; installs the extra fuzz into .venv. No
#              part of CI. FUZZ="-max_total_time=600": libFuzzer's options
# make docs    the documentation site, into site/; a dead link is an error
# make site    every page of it in headless Chromium, 390 pixels wide, and axe on five; wants chromium, node and npm
# make package wheel and sdist into dist/, checked, and the wheel tried alone on every Python from 3.11 up
#
# Only python3 and make are needed to start; .venv holds the rest and is remade when pyproject.toml changes.

VENV      := .venv
INSTALLED := $(VENV)/.installed
BIN       := $(VENV)/bin

# As python -X dev -W error, but by the environment: what the tests start, and their workers, run in the same modes. What a
# test leaves behind is its failure without them too (tests/conftest.py). Bytecode is kept even where the environment says
# that it should not be: else each program that a test starts would compile the package, which takes 0.4 s.
STRICT    := PYTHONDONTWRITEBYTECODE= PYTHONASYNCIODEBUG=1 PYTHONDEVMODE=1 PYTHONWARNINGS=error

.PHONY: demo test test-all check format lint types contracts unit interop quick coverage strict bench bench-micro scoreboard fuzz docs lowest site package peers clean

demo: $(INSTALLED)
	@$(BIN)/python examples/demo.py

test: peers check

check: lint types contracts docs strict

$(INSTALLED): pyproject.toml
	@python=$$(.ci/python) && .ci/venv $(VENV) "$$python" dev,docs,package
	@touch $@

peers:
	@.ci/peers

format: $(INSTALLED)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(INSTALLED)
	$(BIN)/mypy

contracts: $(INSTALLED)
	$(BIN)/lint-imports

unit: $(INSTALLED)
	$(BIN)/python -m pytest -q -n 2 --ignore tests/interop

interop: $(INSTALLED)
	$(BIN)/python -m pytest -q -n 2 tests/interop

quick: $(INSTALLED)
	HYPOTHESIS_PROFILE=quick $(BIN)/python -m pytest -q -n 2 -m "not slow"

coverage: $(INSTALLED)
	$(BIN)/python -m pytest -q -n 2 --ignore tests/interop --cov --cov-report=term:skip-covered

strict: $(INSTALLED)
	$(STRICT) $(BIN)/python -m pytest -q -n 2

scoreboard: $(INSTALLED)
	@$(BIN)/python -m scoreboard

fuzz: $(INSTALLED)
	@$(BIN)/python -c "import atheris" 2>/dev/null || .ci/venv $(VENV) $(BIN)/python fuzz
	@$(BIN)/python tests/fuzz/decoders.py $(FUZZ)

lowest:
	@.ci/lowest

test-all:
	@.ci/test-all

bench: $(INSTALLED)
	@$(BIN)/python -m benchmarks $(BENCH)

bench-micro: $(INSTALLED)
	@$(BIN)/python -m benchmarks.micro

docs: $(INSTALLED)
	$(BIN)/python docs/generate.py
	$(BIN)/zensical build --strict --clean
	@echo "site/index.html"

site: docs
	@.ci/site/check

package: $(INSTALLED)
	@.ci/package

clean:
	rm -rf $(VENV) .venv-* site build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
