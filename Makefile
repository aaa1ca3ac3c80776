# Two verbs do everything on a fresh Debian or Ubuntu machine: `make demo` and `make test`. Both call `setup` first.
SHELL := /bin/bash
# The distribution's own interpreter first: it is built with profile-guided optimization (1.6 times as fast as a plain
# build of the same version, measured).
PYTHON ?= $(shell for p in /usr/bin/python3 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
INSTALL := install -q --disable-pip-version-check
APT := frr bird2 nftables tcpdump iproute2 iputils-ping python3-venv
EXABGP42 := build/exabgp-4.2
export L3HA_EXABGP42 := $(CURDIR)/$(EXABGP42)/bin/exabgp
RUNS ?= 5
JOBS ?= 1
MINUTES ?= 10
SAMPLE ?= 0
N ?= n1
ROUTERS ?= frr,bird

.PHONY: setup check test unit lab-test demo lab lab-shell lab-down faults hunt explore mutants fuzz cover docs lock clean bench

setup: $(VENV)/.stamp $(EXABGP42)/.stamp build/.apt  ## virtual environments from the lock file, apt packages if missing

build/.apt:
	@mkdir -p build
	@missing=""; for p in $(APT); do dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$p"; done; \
	if [ -n "$$missing" ]; then echo "installing:$$missing"; deploy/apt-install $$missing; fi
	@touch $@

$(VENV)/.stamp: requirements.lock pyproject.toml | build/.apt
	@test -n "$(PYTHON)" || { echo "l3ha needs Python 3.11 or later; this machine has neither /usr/bin/python3 nor python3 of that age"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip $(INSTALL) --no-compile --require-hashes -r requirements.lock
	$(BIN)/pip $(INSTALL) --no-deps --config-settings editable_mode=compat -e .
	@touch $@

$(EXABGP42)/.stamp: | $(VENV)/.stamp
	$(PYTHON) -m venv --without-pip $(EXABGP42)
	$(BIN)/pip --python $(EXABGP42)/bin/python $(INSTALL) --no-compile exabgp==4.2.25 setuptools==75.8.0
	@touch $@

check: $(VENV)/.stamp  ## format, lint, strict types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

unit: $(VENV)/.stamp  ## the tests that need neither root nor routers
	$(BIN)/pytest -m "not lab" -n $$(nproc)

lab-test: setup  ## the tests in network namespaces with real routers
	$(BIN)/pytest -m lab

# Simulator and explorer are only computation: they run at idle priority in what time the lab leaves over, and so spare
# some minutes.
test: setup check  ## everything that CI runs; beside the lab's tests only what computes and gives way
	@chrt --idle 0 $(BIN)/pytest -m background -n $$(nproc) --dist worksteal -o timeout=1500 > build/background.log 2>&1 & background=$$!; \
	trap 'kill $$background 2>/dev/null' EXIT; \
	set -x; \
	$(BIN)/pytest -m lab --max-suite-reruns 30 && $(BIN)/pytest -m "not lab and not background" -n $$(nproc) && \
	{ wait $$background; ended=$$?; cat build/background.log; exit $$ended; }

demo: setup  ## a pair of nodes fails over between two real routers, with the outage measured
	$(BIN)/python -m lab demo

lab: setup  ## the same lab, left running
	$(BIN)/python -m lab up

lab-shell:  ## a shell in a node of the running lab: make lab-shell N=n1
	$(BIN)/python -m lab shell $(N)

lab-down:
	$(BIN)/python -m lab down

faults: setup  ## every fault, RUNS times; rewrites the table in the README
	$(BIN)/python -m lab faults --runs $(RUNS) --markdown README.md

build/.apt-bench: | build/.apt
	@dpkg-query -W -f='$${Status}' keepalived 2>/dev/null | grep -q 'ok installed' || deploy/apt-install keepalived
	@touch $@

bench: setup build/.apt-bench  ## l3ha beside keepalived, exabgp healthcheck, FRR and BIRD; all of it rewrites README and docs/
	$(BIN)/python -m lab bench --runs $(RUNS) --jobs $(JOBS) --only "$(ONLY)" --faults "$(FAULTS)" --routers "$(ROUTERS)" --parts "$(PARTS)" \
		$(if $(ONLY)$(FAULTS),,--markdown README.md --docs docs)

hunt: $(VENV)/.stamp  ## random cases against the invariants, for MINUTES or until one fails
	$(BIN)/python -m l3ha sim --hunt $(MINUTES)

mutants: $(VENV)/.stamp  ## change core and wire a little, see whether a test notices: make mutants ONLY=l3ha/core/srg.py SAMPLE=40
	nice -n 19 $(BIN)/python -m tests.mutation --sample $(SAMPLE) $(if $(ONLY),--only $(ONLY))

fuzz: $(VENV)/.stamp build/.fuzz  ## every decoder of foreign bytes, MINUTES for each group (or GROUP=icl, or one decoder)
	$(BIN)/python -m tests.fuzz run --minutes $(MINUTES) --group "$(GROUP)"

build/.fuzz: requirements-fuzz.lock | $(VENV)/.stamp  # apart from the main lock: not every Python has a wheel of it
	$(BIN)/pip $(INSTALL) --require-hashes -r requirements-fuzz.lock
	@mkdir -p build && touch $@

explore: $(VENV)/.stamp  ## every state that FAULTS faults can lead to; three take gigabytes, and no fault heals singly then
	nice -n 19 $(BIN)/python -m l3ha.sim.explore --faults $(or $(FAULTS),2) $(if $(filter 0 1 2,$(or $(FAULTS),2)),,--no-heals)

cover: setup
	$(BIN)/coverage run -m pytest -m "not lab" && $(BIN)/coverage report --include='l3ha/*'

docs: $(VENV)/.stamp  ## rewrite what is generated from the code, and the golden files
	$(BIN)/python -m l3ha.cli.reference > docs/cli.md
	L3HA_REWRITE=1 $(BIN)/pytest -q -m "not lab" -k "golden or generated or transcript"

lock: $(VENV)/.stamp  ## pin what pyproject.toml allows today
	$(BIN)/pip $(INSTALL) pip-tools
	$(BIN)/pip-compile -q --extra dev --generate-hashes --allow-unsafe --strip-extras --no-emit-index-url --no-emit-find-links --no-header -o requirements.lock pyproject.toml

clean: lab-down
	rm -rf build $(VENV)
