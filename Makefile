# Everything here makes what it needs; on a fresh clone Python (3.11 or newer), make and the
# package registries are enough. `make interop` and `make bench` also use Go, Node and a C
# compiler where they are.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help demo test thorough browser lint interop kills record replay compiled explore fuzz bench site docs clean

help: ## say what there is
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 12

$(READY): pyproject.toml setup.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "neffos-wire needs Python 3.11 or newer; say which with make PYTHON=..."; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev,docs]'
	@touch $@

demo: $(READY) ## run the suite against the embedded server
	@$(BIN)/neffos-wire test server

test: $(READY) lint ## run all tests that need nothing but Python
	$(BIN)/pytest -n auto --dist loadfile --cov --cov-report=term codec/tests protocol/tests
	$(BIN)/pytest -n 3 --dist loadfile conformance/tests # more than cores: they wait a good deal

thorough: $(READY) ## run the property tests with four times as many examples
	$(BIN)/pytest -n auto --hypothesis-profile=thorough \
	  codec/tests/test_properties.py protocol/tests/test_grammar.py \
	  protocol/tests/test_monitor.py protocol/tests/test_two_sessions.py

browser: $(READY) ## run the tests that open pages in Chromium
	$(BIN)/pytest -n auto --dist loadfile -m browser conformance/tests

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy
	$(BIN)/mypy codec/bench protocol/bench protocol/fuzz conformance/peers conformance/examples
	$(BIN)/mypy conformance/bench
	MYPYPATH=spec $(BIN)/mypy spec/hooks.py spec/browse.py spec/generate

interop: $(READY) ## let real peers, our peers and the suite at each other (needs Go, Node)
	cd conformance && ../$(BIN)/python -m peers.interop

kills: $(READY) ## check by mutation testing that every case and every requirement is proven
	cd conformance && ../$(BIN)/python -m mutation $(or $(KILLS),--check)

record: $(READY) ## record all transcripts anew from the real peers (needs Go, Node, Chromium)
	cd conformance && ../$(BIN)/python -m peers.corpus

replay: $(READY) ## judge the corpus, record a sample, play it to live peers (needs Go, Node)
	cd conformance && ../$(BIN)/python -m peers.replays

compiled: $(READY) ## compile the codec and run its tests on that build (needs a C compiler)
	$(PYTHON) -m venv build/compiled
	build/compiled/bin/pip install --quiet --disable-pip-version-check 'mypy>=1.18' 'setuptools>=77'
	NEFFOS_WIRE_COMPILE=1 build/compiled/bin/pip install --quiet --disable-pip-version-check \
	  --no-build-isolation '.[dev]'
	NEFFOS_WIRE_EXPECT_COMPILED=1 build/compiled/bin/pytest -n auto --dist loadfile codec/tests protocol/tests

explore: $(READY) ## try every conversation of two sessions, up to four commands
	$(BIN)/python -m neffos_protocol.exploration

fuzz: $(READY) ## let a coverage-guided fuzzer at codec and session, twenty seconds each
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[fuzz]'
	printf '%s\n' decode handshake session | \
	  xargs -P 2 -I TARGET $(BIN)/python protocol/fuzz/fuzz.py TARGET --seconds 20

bench: $(READY) ## measure codec, session and server on one core (uses Go, Node, a C compiler)
	$(BIN)/python codec/bench/run.py $(BENCH)
	$(BIN)/python protocol/bench/session.py $(BENCH)
	$(BIN)/python conformance/bench/run.py $(BENCH)
	$(BIN)/python conformance/bench/check.py $(BENCH)

site: $(READY) ## build the specification site into site/, and look at it (uses Chromium)
	NO_MKDOCS_2_WARNING=1 PYTHONPATH=conformance $(BIN)/mkdocs build --strict --config-file spec/mkdocs.yml
	$(BIN)/python spec/browse.py site

docs: $(READY) ## serve the specification site while it is written
	NO_MKDOCS_2_WARNING=1 PYTHONPATH=conformance $(BIN)/mkdocs serve --config-file spec/mkdocs.yml

clean: ## remove what was built, and the environment
	rm -rf $(VENV) build site reports *.egg-info
