# What this project can do on a machine. Each target sets up what it needs: Rust 1.95 (rust-toolchain.toml), a C
# compiler for aws-lc, for a real API server Go 1.25 or newer, for the image buildah.

CARGO ?= cargo
CONTROL_PLANE := target/control-plane/bin
# Stories on a real API server mostly wait: more of them at once than there are cores.
E2E_THREADS ?= 6

# What is handed out. Static, so that it runs in an image that holds nothing else; with --target, or the procedural
# macros would have to be static too.
DIST := target/dist
VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
TRIPLE = $(shell rustc -vV | sed -n 's/^host: //p')
PLATFORM = linux-$(patsubst x86_64,amd64,$(patsubst aarch64,arm64,$(firstword $(subst -, ,$(TRIPLE)))))
STATIC = target/$(TRIPLE)/release/stellar-peers
IMAGE = $(DIST)/stellar-peers-$(VERSION)-image-$(PLATFORM).tar
# buildah needs no daemon; podman and docker are known too.
export CONTAINER_TOOL ?= buildah
# FEATURES=otel builds the program with what is left out otherwise.
WITH = $(if $(FEATURES),--features $(FEATURES))

# Coverage by LLVM alone: libFuzzer needs no sanitizer to find what panics.
FUZZ_SECONDS ?= 60
FUZZ_TARGETS = review pairs stellar_node core_config quorum_set record
FUZZ_FLAGS = --cfg fuzzing -Cpasses=sancov-module -Ccodegen-units=1 $(addprefix -Cllvm-args=-sanitizer-coverage-, \
	level=4 inline-8bit-counters pc-table trace-compares)

.PHONY: help demo test test-hermetic test-otel sim mutants fuzz e2e soak page control-plane chart generate lint deny bench bench-scale release static image dist

help:
	@echo 'make demo           the whole product on an in-memory cluster, in seconds (KEEP=1 keeps it running)'
	@echo 'make test           everything: test-hermetic, then e2e'
	@echo 'make test-hermetic  unit, property and scenario tests without Go'
	@echo 'make test-otel      that spans reach a collector, with feature otel'
	@echo 'make mutants        breaks the program in many ways; the simulation has to find each'
	@echo 'make sim SEEDS=n    clusters in which everything goes wrong, drawn from n seeds; SEED=n tells one of them'
	@echo 'make fuzz           arbitrary bytes through whatever reads them, FUZZ_SECONDS=60 each; FUZZ_TARGETS=name one of them'
	@echo 'make e2e            the scenarios on a real kube-apiserver, built from Go modules'
	@echo 'make soak MINUTES=n  everything at once on a real API server for so long: churn, kills, outages, admissions; SOAK_SEED=n repeats'
	@echo 'make page           the status page in a headless Chromium; UPDATE=1 takes the pictures in docs/images anew'
	@echo 'make chart          the chart: lint, values, registration, rights; helm upgrades and rollbacks on a real API server'
	@echo 'make generate       writes what is made from the code: webhook-config, the StellarNode kind, the table of values'
	@echo 'make lint           format, clippy, documentation, licences and banned crates'
	@echo 'make bench          latency, throughput and size, in figures, also beside controller-runtime; UPDATE=1 writes docs/benchmarks.md'
	@echo 'make bench-scale    10,000 validators: memory, time on a core, latency; UPDATE=1 writes docs/benchmarks'
	@echo 'make release        the stripped binary'
	@echo 'make image          the image as an archive in target/dist, and its check; CONTAINER_TOOL=podman or docker without'
	@echo 'make dist           image, static binary, chart, manifests, SBOM and checksums, in target/dist'

demo:
	$(CARGO) build --quiet --features sandbox
	target/debug/stellar-peers demo $(if $(KEEP),--keep)

test: test-hermetic test-otel e2e

# Without valgrind, and without the right to install it, instructions are not counted.
test-hermetic:
	packaging/need.sh valgrind || true
	$(CARGO) test --workspace --features sandbox

# Spans reach a collector. A build of its own, which the other tests don't need.
test-otel:
	$(CARGO) test --features sandbox,otel --lib -- observe::logs

# Each mutation is built and simulated; ONLY='part of a name' takes those alone.
mutants:
	$(CARGO) test --features sandbox --test mutants -- --ignored --nocapture

# Two at a time. What is found stands in fuzz/found, and what covers something new in fuzz/corpus.
fuzz:
	cd fuzz && RUSTFLAGS='$(FUZZ_FLAGS)' $(CARGO) build --quiet --release --target $(TRIPLE)
	@mkdir -p fuzz/found $(FUZZ_TARGETS:%=fuzz/corpus/%)
	@printf '%s\n' $(FUZZ_TARGETS) | xargs -P 2 -I {} fuzz/run.sh fuzz/target/$(TRIPLE)/release/{} $(FUZZ_SECONDS)

sim:
	SIM_SEEDS=$(SEEDS) SIM_SEED=$(SEED) SIM_FIRST=$(FIRST) $(CARGO) test --quiet --features sandbox --test simulation

control-plane:
	tests/control-plane/build.sh $(CONTROL_PLANE)

e2e: control-plane page
	tests/progress.sh $(CARGO) test --features sandbox --test scenarios -- --ignored --skip soak:: --test-threads=$(E2E_THREADS)

# Not a story, and so no part of `make test`. What was done and seen stands in target/soak.
soak: control-plane
	SOAK_MINUTES=$(or $(MINUTES),30) SOAK_SEED=$(SOAK_SEED) $(CARGO) test --quiet --features sandbox --test scenarios -- \
		--ignored --exact --nocapture real::soak::everything_at_once

# Without Chromium, and without the right to install it, it says so and passes.
page:
	packaging/need.sh chromium chromedriver || true
	$(CARGO) test --quiet --features sandbox --test page

# A part of `make test`, for those who work on the chart. One control plane after the other.
chart: control-plane
	$(CARGO) test --features sandbox --test chart
	tests/progress.sh $(CARGO) test --features sandbox --test scenarios -- --ignored helm::

generate:
	UPDATE=1 $(CARGO) test --quiet --features sandbox --test chart

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- --deny warnings
	$(CARGO) clippy --workspace --all-targets --features sandbox,otel -- --deny warnings
	RUSTDOCFLAGS='--deny warnings' $(CARGO) doc --workspace --no-deps --document-private-items --features sandbox
	$(MAKE) deny

# The advisory database is not part of any registry: where it can't be had, licences, bans and sources are checked.
deny:
	@command -v cargo-deny >/dev/null || $(CARGO) install --locked --quiet cargo-deny --version 0.20.2
	cargo-deny --log-level error check bans licenses sources
	@if $(if $(shell command -v timeout),timeout 60) cargo-deny --log-level off fetch db; then cargo-deny --log-level error --offline check advisories; \
		else echo 'advisories are not checked: their database (RustSec) could not be fetched'; fi

# UPDATE=1 also writes docs/benchmarks.md, and what it shows. BENCH_QUICK=1 has short rounds.
bench: control-plane
	$(CARGO) bench --features sandbox --bench discovery --bench webhook

bench-scale: control-plane
	$(CARGO) bench --features sandbox --bench scale

release:
	$(CARGO) build --release $(WITH)

# Without the folders of this machine, which messages of panics would name.
static:
	@case $(TRIPLE) in *-linux-*) ;; *) echo 'an image needs a binary for Linux: build it on Linux' >&2; exit 1 ;; esac
	RUSTFLAGS='-C target-feature=+crt-static --remap-path-prefix=$(or $(CARGO_HOME),$(HOME)/.cargo)=/cargo --remap-path-prefix=$(CURDIR)=/stellar-peers' \
		$(CARGO) build --release --locked $(WITH) --bin stellar-peers --target $(TRIPLE)

image: static
	packaging/image.sh $(STATIC) $(VERSION) $(IMAGE)
ifeq ($(CONTAINER_TOOL),buildah)
	tests/image/check.sh $(IMAGE) $(VERSION)
endif

dist:
	rm -rf $(DIST)
	$(MAKE) image
	tests/control-plane/build.sh $(CONTROL_PLANE) helm
	@command -v cargo-cyclonedx >/dev/null || $(CARGO) install --locked --quiet cargo-cyclonedx --version 0.5.9
	HELM=$(CONTROL_PLANE)/helm packaging/dist.sh $(STATIC) $(VERSION) $(PLATFORM) $(DIST)
