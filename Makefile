# Everything here makes what it needs; on a fresh clone Python (3.11 or newer), make and the
# package registries are enough. `make interop` and `make bench` also use Go, Node and a C
# compiler where they are.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
RUNS := $(VENV)/.runs
FUZZER := $(VENV)/.fuzzer
COMPILED := build/compiled

# Tests start many processes, which must not compile the same files again and again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test tests base-tests suite-tests waiting thorough browser lint interop networks \
  kills record freeze release-check replay compiled explore fuzz bench hostile site docs loaded clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 15

# What is imported is compiled then, which is a third of what there is.
PIP := $(BIN)/pip install --quiet --disable-pip-version-check --no-compile

$(VENV)/pyvenv.cfg:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "neffos-wire needs Python 3.11 or newer; name one: make PYTHON=..."; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(RUNS): pyproject.toml setup.py | $(VENV)/pyvenv.cfg # what runs the suite
	$(PIP) --editable '.[conformance]'
	@touch $@

$(READY): pyproject.toml setup.py | $(VENV)/pyvenv.cfg # what tests it, and builds the site
	$(PIP) --editable '.[dev,docs]'
	@touch $(RUNS) $@

demo: $(RUNS) ## run the suite against the embedded server
	@$(BIN)/neffos-wire test server

# Side by side: the tests of the suite wait now and then, and one process does the rest meanwhile.
test: $(READY) ## check style and types, and run all tests that need nothing but Python
	@$(MAKE) --no-print-directory --jobs 2 --output-sync=line suite-tests lint base-tests

tests: $(READY)
	@$(MAKE) --no-print-directory --jobs 2 --output-sync=line suite-tests base-tests

base-tests: $(READY) # codec and protocol
	$(BIN)/pytest $(COVERAGE) codec/tests protocol/tests

suite-tests: $(READY) # more processes than cores: they wait a good deal
	$(BIN)/pytest -n 4 --dist worksteal conformance/tests

# The tests that wait for peers, or flood them: those that a busy machine could disturb.
WAITING := cases client_cases client_faults driver_protocol hostile_servers kills limits \
  reference_faults

waiting: $(READY) # a part of `tests`
	$(BIN)/pytest -q -n 3 --dist loadfile $(WAITING:%=conformance/tests/test_%.py)

thorough: $(READY) ## run the property tests with four times as many examples (THOROUGH=share: three)
	$(BIN)/pytest -q -n auto --hypothesis-profile=$(or $(THOROUGH),thorough) -m hypothesis \
	  $$(grep -l hypothesis codec/tests/*.py protocol/tests/*.py conformance/tests/*.py)

browser: $(READY) ## run the tests that open pages in Chromium
	$(BIN)/pytest -n auto --dist loadfile -m browser $$(grep -l mark.browser conformance/tests/*.py)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy
	$(BIN)/mypy codec/bench protocol/bench protocol/fuzz conformance/peers conformance/examples
	$(BIN)/mypy conformance/bench
	$(BIN)/mypy conformance/hostile
	MYPYPATH=spec $(BIN)/mypy spec/hooks.py spec/browse.py spec/generate

interop: $(READY) ## run the suite on all tested implementations (INTEROP=--share; needs Go, Node, Chromium)
	$(BIN)/pytest -q -n auto -m whole $$(grep -l mark.whole conformance/tests/*.py)
	cd conformance && ../$(BIN)/python -m peers.interop $(INTEROP)

kills: $(READY) ## run every case against every mutant (KILLS=--check: every proof, and a sample)
	cd conformance && ../$(BIN)/python -m mutation $(or $(KILLS),--all)

networks: $(READY) ## run the suite through far, thin, slow and lossy networks (half an hour)
	cd conformance && ../$(BIN)/python -m peers.networks $(NETWORKS)

record: $(READY) ## record all transcripts again, from the tested implementations (needs Go, Node, Chromium)
	cd conformance && ../$(BIN)/python -m peers.corpus

freeze: $(READY) ## write the requirement set of a release: make freeze SET=2026-1
	cd conformance && ../$(BIN)/python -m neffos_conformance.requirement_sets $(SET)

release-check: $(READY) ## list what must be recorded before a release
	cd conformance && ../$(BIN)/python -m peers.corpus --check

replay: $(READY) ## check the corpus, record a sample, replay it to live peers (needs Go, Node)
	cd conformance && ../$(BIN)/python -m peers.replays

# An environment with the compiled codec. It sees the packages of the other environment, but not
# the package there, which is installed by a .pth file.
PURELIB := -c 'import sysconfig; print(sysconfig.get_path("purelib"))'

$(COMPILED)/.ready: $(READY) setup.py $(shell find codec protocol conformance/neffos_conformance -type f \
  -not -path '*/__pycache__/*')
	rm -rf build/lib* build/temp* # a later build would use what an earlier one left there
	$(PYTHON) -m venv $(COMPILED)
	$(BIN)/python $(PURELIB) > "$$($(COMPILED)/bin/python $(PURELIB))/shared.pth"
	$(COMPILED)/bin/pip install --quiet --disable-pip-version-check 'setuptools>=77'
	NEFFOS_WIRE_COMPILE=1 $(COMPILED)/bin/pip install --quiet --disable-pip-version-check \
	  --no-build-isolation --no-deps .
	@touch $@

compiled: $(COMPILED)/.ready ## compile the codec and run its tests on that build (needs a C compiler)
	NEFFOS_WIRE_EXPECT_COMPILED=1 $(COMPILED)/bin/python -m pytest -n auto --dist loadfile \
	  codec/tests protocol/tests

explore: $(READY) ## try every conversation of two sessions, up to four commands
	$(BIN)/python -m neffos_protocol.exploration

$(FUZZER): $(READY) # not built for every platform
	$(PIP) --editable '.[fuzz]'
	@touch $@

fuzz: $(FUZZER) ## run a coverage-guided fuzzer on codec and session (FUZZ: seconds for each of three)
	printf '%s\n' decode handshake session | \
	  xargs -P 3 -I TARGET $(BIN)/python protocol/fuzz/fuzz.py TARGET --seconds $(or $(FUZZ),20)

hostile: $(READY) ## attack server, ASGI application and client; HOSTILE=--quick in CI
	cd conformance && ../$(BIN)/python -m hostile $(HOSTILE)

bench: $(READY) ## measure codec, session and server on one core (uses Go, Node, a C compiler)
	$(BIN)/python codec/bench/run.py $(BENCH)
	$(BIN)/python protocol/bench/session.py $(BENCH)
	$(BIN)/python conformance/bench/run.py $(BENCH)
	$(BIN)/python conformance/bench/check.py $(BENCH)

site: $(READY) ## build the specification site into site/, and look at it (uses Chromium)
	NO_MKDOCS_2_WARNING=1 PYTHONPATH=conformance $(BIN)/mkdocs build --strict --config-file spec/mkdocs.yml
	$(BIN)/python spec/browse.py site

loaded: $(READY) ## run all tests ten times beside four busy processes
	.ci/under-load -n 10 -b 4 $(MAKE) --no-print-directory tests

docs: $(READY) ## serve the specification site while it is written
	NO_MKDOCS_2_WARNING=1 PYTHONPATH=conformance $(BIN)/mkdocs serve --config-file spec/mkdocs.yml

clean: ## remove what was built, and the environment
	rm -rf $(VENV) build site reports *.egg-info
