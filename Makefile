# Lockstep. `make demo` runs the main job for real; `make test` passes all tests. Both do their own set-up.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules
export PATH := $(CURDIR)/node_modules/.bin:$(PATH)

FORGE := cd contracts && forge
# Optimised, and everything at once: one by one, cargo would build their dependencies anew for each.
RELEASE := cargo build --locked --release -p lockstep -p lockstep-tests --bins
# LOCKSTEP_SYSTEM_TOOLS=1 leaves npm out: then anvil, forge and the Solidity libraries are the machine's own.
TOOLS := $(if $(LOCKSTEP_SYSTEM_TOOLS),,node_modules/.stamp)
NEXTEST := $(shell cargo nextest --version >/dev/null 2>&1 && echo yes)

.PHONY: help
help: ## this list
	@grep -hE '^[a-z-]+:.*## ' Makefile | awk -F':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

node_modules/.stamp: package.json package-lock.json
	npm ci --no-audit --no-fund --loglevel=error
	touch $@

.PHONY: build
build: $(TOOLS) ## the lockstep binary (development profile)
	cargo build --locked -p lockstep

.PHONY: demo
demo: build ## the whole loop on this machine: pay, act, pay back, refund; one member dies half-way
	target/debug/lockstep demo

.PHONY: devnet
devnet: build ## everything local, stays up until interrupted, prints what to try
	target/debug/lockstep devnet

.PHONY: test
test: $(TOOLS) test-contracts abi-check ## all tests
	cargo build --locked -p lockstep
ifeq ($(NEXTEST),yes)
	cargo nextest run --locked --workspace
else
	cargo test --locked --workspace
endif

.PHONY: test-contracts
test-contracts: $(TOOLS) ## forge: unit, fuzz, invariant
	cd contracts && FORGE_SNAPSHOT_CHECK=true forge test

# Python tools of the audit, in fixed versions, nowhere but under target/.
AUDIT := target/audit/venv
$(AUDIT)/.stamp: contracts/audit/requirements.txt
	python3 -m venv --clear $(AUDIT)
	$(AUDIT)/bin/pip install --quiet --requirement contracts/audit/requirements.txt
	touch $@

.PHONY: audit
audit: audit-static audit-proofs audit-fuzz audit-mutants differential ## the long part for contracts: slither, halmos, 10,000 fuzz runs, mutants, Rust beside Solidity

.PHONY: audit-static
audit-static: $(TOOLS) $(AUDIT)/.stamp
	$(AUDIT)/bin/python contracts/audit/slither.py

.PHONY: audit-proofs
audit-proofs: $(TOOLS) $(AUDIT)/.stamp
	$(AUDIT)/bin/python contracts/audit/prove.py

.PHONY: audit-mutants
audit-mutants: $(TOOLS) $(AUDIT)/.stamp
	$(AUDIT)/bin/python contracts/audit/mutate.py

.PHONY: audit-fuzz
audit-fuzz: $(TOOLS)
	cd contracts && FOUNDRY_PROFILE=audit forge test --match-test '^(testFuzz|invariant)'

.PHONY: abi
abi: $(TOOLS) ## export ABI and bytecode to contracts/abi
	$(FORGE) build && node bin/export-abi.mjs

.PHONY: abi-check
abi-check: $(TOOLS)
	$(FORGE) build && node bin/export-abi.mjs --check && node bin/check-code.mjs

.PHONY: test-scenarios
test-scenarios: ## DIR=folder: the derivation core against a folder of scenario files
	@test -n "$(DIR)" || { echo "usage: make test-scenarios DIR=folder"; exit 64; }
	LOCKSTEP_SCENARIOS="$(abspath $(DIR))" cargo test --locked -p lockstep-tests --test it scenarios -- --nocapture

N ?= 20
.PHONY: ceremony
ceremony: $(TOOLS) ## N=20: a key ceremony and two handovers by real processes while payments flow; then 64 in one process
	$(RELEASE)
	target/release/handover --members $(N) --binary target/release/lockstep
	target/release/ceremony --members 64

PAYMENTS ?= 10000
SEED ?= 1
.PHONY: soak-ledger
soak-ledger: $(TOOLS) ## PAYMENTS=10000 SEED=1: payments of every kind through real processes, each accounted for to the last unit
	$(RELEASE)
	target/release/soak --payments $(PAYMENTS) --seed $(SEED) --binary target/release/lockstep

SEEDS ?= 200
.PHONY: sim
sim: ## SEEDS=200: the simulator: crashes, lost and repeated pulls, a liar
	cargo run --locked -p lockstep-tests --bin sim -- --seeds $(SEEDS)

.PHONY: sim-ceremony
sim-ceremony: ## SEEDS=200: simulated key ceremonies: bad members, crashes, lost time
	$(RELEASE)
	target/release/ceremony --seeds $(SEEDS)

INPUTS ?= 1000000
SECONDS_EACH ?= 600
.PHONY: fuzz
fuzz: ## INPUTS=1000000 SECONDS_EACH=600: damaged bytes for every decoder of what comes over a wire, from an API or a chain, or in a file
	$(RELEASE)
	target/release/fuzz --inputs $(INPUTS) --seconds $(SECONDS_EACH)

.PHONY: ceremony-inprocess
ceremony-inprocess: ## N=20: a ceremony and two reshares in one process, and what they cost each member
	$(RELEASE)
	target/release/ceremony --members $(N)

CASES ?= 10000
.PHONY: differential
differential: $(TOOLS) ## CASES=10000: Rust and Solidity compute so many random cases of each kind, and must agree
	LOCKSTEP_DIFFERENTIAL_CASES=$(CASES) cargo test --locked -p lockstep-tests --test it differential:: -- --nocapture

.PHONY: bench
bench: $(TOOLS) ## gas per message, into target/bench/gas.json
	cargo run --locked -p lockstep-tests --bin gas -- --out target/bench/gas.json

.PHONY: lint
lint: $(TOOLS) ## formatting, clippy, docs, forge fmt and lint, the dependency rules
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --quiet
	$(FORGE) fmt --check src test script kit
	cd contracts && FOUNDRY_PROFILE=lint forge lint --deny warnings
	cargo test --locked -p lockstep-tests --test it dependency_rules

.PHONY: fmt
fmt: $(TOOLS) ## format everything
	cargo fmt --all
	$(FORGE) fmt src test script kit

.PHONY: clean
clean: ## remove what was built
	rm -rf target node_modules contracts/out contracts/cache contracts/broadcast .devnet
