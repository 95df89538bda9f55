# Everything here makes what it needs; on a fresh clone Python (3.11 or newer), make and the
# package registries are enough. `make interop` and `make bench` also use Go, Node and a C
# compiler where they are.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
RUNS := $(VENV)/.runs
FUZZER := $(VENV)/.fuzzer
RELEASER := $(VENV)/.releaser
COMPILED := build/compiled

# Tests start many processes, which must not compile the same files again and again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test tests base-tests suite-tests waiting thorough browser cluster lint whole interop networks \
  kills model mutation learn history record freeze release-check replay compiled sanitized explore fuzz bench hostile nemesis site docs loaded packages \
  workflows lock clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 15

# What is imported is compiled then, which is a third of what there is.
PIP := $(BIN)/pip install --quiet --disable-pip-version-check --no-compile

$(VENV)/pyvenv.cfg:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "neffos-wire needs Python 3.11 or newer; name one: make PYTHON=..."; exit 2; }
	$(PYTHON) -m venv $(VENV)

# Installing compiles the codec, wherever there is a C compiler.
BUILT_FROM := pyproject.toml setup.py codec/neffos_codec/_compiled.c

# Versions and hashes are in requirements/; `make lock` writes them.
LOCKED := $(PIP) --require-hashes --requirement requirements
EDITABLE := $(PIP) --no-deps --editable .

$(RUNS): $(BUILT_FROM) requirements/run.txt | $(VENV)/pyvenv.cfg # what runs the suite
	$(LOCKED)/run.txt
	$(EDITABLE)
	@touch $@

$(READY): $(BUILT_FROM) requirements/dev.txt | $(VENV)/pyvenv.cfg # what tests it, and builds the site
	$(LOCKED)/dev.txt
	$(EDITABLE)
	@touch $(RUNS) $@

demo: $(RUNS) ## run the suite against the embedded server
	@$(BIN)/neffos-wire test server

# Side by side: the tests of the suite wait now and then, and one process does the rest meanwhile.
test: $(READY) ## check style and types, and run all tests that need nothing but Python
	@$(MAKE) --no-print-directory --jobs 2 --output-sync=line suite-tests lint base-tests

tests: $(READY)
	@$(MAKE) --no-print-directory --jobs 2 --output-sync=line suite-tests base-tests

base-tests: $(READY) # codec and protocol; pure, since `make compiled` runs the same on compiled ones
	NEFFOS_WIRE_PURE=1 $(BIN)/pytest $(COVERAGE) codec/tests protocol/tests

suite-tests: $(READY) # more processes than cores: they wait now and then, and collect 3 s each
	$(BIN)/pytest -n 3 --dist worksteal conformance/tests

# The tests that wait for peers, or flood them: those that a busy machine could disturb.
WAITING := bounds cases client_cases client_faults driver_protocol hostile_servers kills limits \
  reference_faults reference_http

# `tests` runs them with picows, and these with websockets alone.
waiting: $(READY) # a part of `tests`
	NEFFOS_WIRE_PURE=1 $(BIN)/pytest -q -n 3 --dist loadfile $(WAITING:%=conformance/tests/test_%.py)

thorough: $(READY) ## run the property tests with eight times as many examples (THOROUGH=share: two)
	$(BIN)/pytest -q -n auto --hypothesis-profile=$(or $(THOROUGH),thorough) -m hypothesis \
	  $$(grep -l hypothesis codec/tests/*.py protocol/tests/*.py conformance/tests/*.py)

browser: $(READY) ## run the tests that open pages in Chromium
	$(BIN)/pytest -n auto --dist loadfile -m browser $$(grep -l mark.browser conformance/tests/*.py)

cluster: $(READY) ## check recordings on a local Dask cluster of two workers, and query the results
	$(PIP) -e '.[cluster]' duckdb
	$(BIN)/pytest -m cluster conformance/tests/test_dask.py conformance/tests/test_parquet.py

# What people read: pages, data, help texts and docstrings. Tests have misspelled payloads.
SPELLED := README.md CONTRIBUTING.md VOCABULARY.md CHANGELOG.md Makefile pyproject.toml spec protocol \
  codec/neffos_codec codec/vectors/README.md \
  $(addprefix conformance/,bench examples hostile neffos_conformance peers proving templates)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/codespell $(SPELLED)
	$(BIN)/mypy

whole: $(READY) ## run the tests that `make test` leaves out: templates, brokers, exports (uses Go, Rust, Java, brokers)
	$(BIN)/pytest -q -n auto -m whole $$(grep -l mark.whole conformance/tests/*.py)

interop: $(READY) ## run the suite on all tested implementations (INTEROP=--share; needs Go, Node, Chromium)
	cd conformance && ../$(BIN)/python -m peers.interop $(INTEROP)

kills: $(READY) ## run every case against every mutant (KILLS=--check: every proof, and a sample)
	cd conformance && ../$(BIN)/python -m mutation $(or $(KILLS),--all)

model: $(READY) ## prove the state tables by a model checker (MODEL=--share; needs spin, a C compiler)
	@cd conformance && ../$(BIN)/python -m proving $(MODEL)

mutation: $(READY) ## draw mutants by a seed, and see which the suite kills (MUTATION=--share: those of CI)
	cd conformance && ../$(BIN)/python -m mutation.generated $(MUTATION)

networks: $(READY) ## run the suite through far, thin, slow and lossy networks (half an hour)
	cd conformance && ../$(BIN)/python -m peers.networks $(NETWORKS)

history: $(READY) ## run the cases on every release of neffos, Iris and neffos.js (11 minutes; needs Go, Node)
	cd conformance && ../$(BIN)/python -m peers.history record $(HISTORY)

# Beside `replay` it waits for that, which builds the same peers.
learn: $(READY) | $(filter replay,$(MAKECMDGOALS)) ## learn the machines of all tested implementations (LEARN=--share: one server, one client)
	cd conformance && ../$(BIN)/python -m peers.learned $(LEARN)

record: $(READY) ## record all transcripts again, from the tested implementations (needs Go, Node, Chromium)
	cd conformance && ../$(BIN)/python -m peers.corpus

freeze: $(READY) ## write the requirement set of a release: make freeze SET=2026-1
	cd conformance && ../$(BIN)/python -m neffos_conformance.requirement_sets $(SET)

release-check: $(READY) ## list what must be recorded before a release
	cd conformance && ../$(BIN)/python -m peers.corpus --check

replay: $(READY) ## check the corpus, record a sample, replay it to live peers (needs Go, Node)
	cd conformance && ../$(BIN)/python -m peers.replays

# An environment with all compiled that can be, as in a wheel. It sees the packages of the other environment, but not
# the package there, which is installed by a .pth file.
PURELIB := -c 'import sysconfig; print(sysconfig.get_path("purelib"))'

$(COMPILED)/.ready: $(READY) setup.py $(shell find codec protocol conformance/neffos_conformance -type f \
  -not -path '*/__pycache__/*' -not -name '*.so')
	rm -rf build/lib build/lib.* build/temp.* # a later build would use what an earlier one left there
	$(PYTHON) -m venv $(COMPILED)
	$(BIN)/python $(PURELIB) > "$$($(COMPILED)/bin/python $(PURELIB))/shared.pth"
	$(COMPILED)/bin/pip install --quiet --disable-pip-version-check 'setuptools>=77'
	$(COMPILED)/bin/pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps .
	@touch $@

compiled: $(COMPILED)/.ready ## build a wheel, and run the tests of codec and protocol on what it compiles (needs a C compiler)
	NEFFOS_WIRE_EXPECT_COMPILED=1 $(COMPILED)/bin/python -m pytest -n auto --dist loadfile \
	  codec/tests protocol/tests
	for pure in '' 1; do NEFFOS_WIRE_PURE=$$pure $(COMPILED)/bin/neffos-wire check --json \
	  conformance/transcripts > build/checked$$pure.json || exit; done
	cmp build/checked.json build/checked1.json # the corpus, by the compiled monitor and the pure one
	$(COMPILED)/bin/python codec/tests/differential.py $(or $(DIFFERENTIAL),--count 1000000 --seed 1)

# The codec, compiled again, with checks of every access to memory. PYTHONPATH comes before the
# editable installation.
SANITIZED := build/sanitized
INCLUDES := -c 'import sysconfig; print(sysconfig.get_path("include"))'
SANITIZERS = $(shell gcc -print-file-name=libasan.so) $(shell gcc -print-file-name=libubsan.so)

sanitized: $(READY) ## run the tests of the compiled codec under sanitizers (needs gcc)
	rm -rf $(SANITIZED) && mkdir -p $(SANITIZED) && cp -r codec/neffos_codec $(SANITIZED)
	rm -f $(SANITIZED)/neffos_codec/*.so
	gcc -I"$$($(BIN)/python $(INCLUDES))" -shared -fPIC -O1 -g -fsanitize=address,undefined \
	  -fno-sanitize-recover=all -o $(SANITIZED)/neffos_codec/_compiled.so \
	  codec/neffos_codec/_compiled.c
	LD_PRELOAD="$(SANITIZERS)" ASAN_OPTIONS=detect_leaks=0 PYTHONMALLOC=malloc \
	  PYTHONPATH=$(SANITIZED) NEFFOS_WIRE_EXPECT_COMPILED=1 $(BIN)/python -m pytest -q \
	  codec/tests/test_compiled.py codec/tests/test_message.py codec/tests/test_codec.py

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

nemesis: $(READY) ## have everything go wrong between two servers and their broker (needs Redis or NATS)
	cd conformance && ../$(BIN)/python -m hostile.nemesis $(NEMESIS)

$(RELEASER): $(READY) requirements/release.txt # what builds and checks packages
	$(LOCKED)/release.txt
	@touch $@

packages: $(RELEASER) ## build the packages twice, compare them, and use a wheel from an empty folder
	cd conformance && ../$(BIN)/python -m peers.packages

workflows: $(RELEASER) ## check workflows, also those that `init` writes, and the action (uses Go)
	cd conformance && ../$(BIN)/python -m peers.workflows

# For every system and Python at once. A name that has a version keeps it: LOCK=--upgrade.
COMPILE = $(BIN)/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 \
  --generate-hashes --no-annotate --custom-compile-command 'make lock' $(LOCK)

lock: $(RELEASER) ## write the versions and hashes of requirements/ (LOCK=--upgrade: the newest)
	$(COMPILE) --extra dev --extra docs --output-file requirements/dev.txt
	$(COMPILE) --extra conformance --constraints requirements/dev.txt --output-file requirements/run.txt
	$(COMPILE) --extra release --constraints requirements/dev.txt --output-file requirements/release.txt

bench: $(READY) ## measure codec, session and server on one core (uses Go, Node, a C compiler)
	$(BIN)/python codec/bench/codecs.py $(BENCH)
	$(BIN)/python protocol/bench/session.py $(BENCH)
	$(BIN)/python conformance/bench/run.py $(BENCH)
	$(BIN)/python conformance/bench/check.py $(BENCH)
	$(BIN)/python conformance/bench/archive.py --jobs 1,2 $(BENCH)
	$(BIN)/python conformance/bench/start.py $(BENCH)
	PYTHONPATH=conformance:codec $(BIN)/python -m bench.exchange $(BENCH)

site: $(READY) ## build the specification site into site/, and look at it (uses Chromium)
	NO_MKDOCS_2_WARNING=1 PYTHONPATH=conformance $(BIN)/mkdocs build --strict --config-file spec/mkdocs.yml
	PYTHONPATH=conformance $(BIN)/python spec/browse.py site

loaded: $(READY) ## run all tests ten times beside four busy processes
	.ci/under-load -n 10 -b 4 $(MAKE) --no-print-directory tests

docs: $(READY) ## serve the specification site while it is written
	NO_MKDOCS_2_WARNING=1 PYTHONPATH=conformance $(BIN)/mkdocs serve --config-file spec/mkdocs.yml

clean: ## remove what was built, and the environment
	rm -rf $(VENV) build site reports *.egg-info
