# The one door. `make` lists what can be done here.

CARGO ?= cargo
CONF ?= conf/demo.conf
PREFIX ?= /usr/local
DESTDIR ?=
FUZZ_SECONDS ?= 60
# More for the benchmarks: options for srs-bench, and other servers as NAME=COMMAND,URL with | between them.
BENCH_ARGS ?=
PEERS ?=
# What the tests start beside the server.
TEST_PACKAGES = ffmpeg rtmpdump

.DEFAULT_GOAL := help
.PHONY: help run release test test-tools check fmt bench soak bench-full bench-peers bench-instructions bench-build fuzz doc install package clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 22

run: release ## build and run in the foreground with conf/demo.conf, a stream already playing
	@mkdir -p objs
	./target/release/srs -c $(CONF)

release: ## the optimised executables srs and srs-cli
	$(CARGO) build --release -p srs -p srs-cli

test: test-tools ## all tests; installs ffmpeg and rtmpdump where it can
	$(CARGO) test --workspace --no-fail-fast

test-tools:
	@missing=""; for tool in ffmpeg ffprobe rtmpdump; do command -v $$tool >/dev/null 2>&1 || missing="$$missing $$tool"; done; \
	if [ -n "$$missing" ]; then \
	  echo "the tests need:$$missing"; \
	  if command -v apt-get >/dev/null 2>&1 && [ "$$(id -u)" = 0 ]; then \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $(TEST_PACKAGES) >/dev/null; \
	  elif command -v apt-get >/dev/null 2>&1 && command -v sudo >/dev/null 2>&1; then \
	    sudo -n apt-get update -qq && sudo -n env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $(TEST_PACKAGES) >/dev/null \
	      || { echo "install them: sudo apt-get install $(TEST_PACKAGES)"; exit 1; }; \
	  else \
	    echo "install them with your package manager: $(TEST_PACKAGES)"; exit 1; \
	  fi; \
	fi

check: ## formatting and lints, no warning allowed
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings

fmt: ## format the sources
	$(CARGO) fmt --all

bench: bench-build ## all benchmarks in short, under five minutes (BENCH_ARGS='--update docs/performance.md')
	./target/release/srs-bench run-short $(BENCH_ARGS)

bench-full: bench-build ## all benchmarks at the size of their goals, about half an hour; writes docs/performance.md
	./target/release/srs-bench run-full --update docs/performance.md --picture docs/images/scale.svg $(BENCH_ARGS)

bench-peers: bench-build ## the same jobs beside nginx-rtmp and PEERS='NAME=COMMAND,URL|…', in turn
	./target/release/srs-bench peers --peers '$(subst ','\'',$(PEERS))' $(BENCH_ARGS)

bench-instructions: bench-build ## instructions per packet and viewer against bench/instructions.json (needs valgrind)
	./target/release/srs-bench instructions --check bench/instructions.json $(BENCH_ARGS)

bench-build: release
	$(CARGO) build --release -p srs-bench

soak: ## a thousand kills of random children under load (SRS_SOAK_KILLS)
	SRS_SOAK_KILLS=$${SRS_SOAK_KILLS:-1000} $(CARGO) test -p srs-tests --test it children_are_killed -- --nocapture

fuzz: ## each fuzz target for FUZZ_SECONDS (needs a nightly toolchain and cargo-fuzz)
	@cd fuzz && for target in $$(ls fuzz_targets | sed 's/\.rs$$//'); do \
	  echo "== $$target"; mkdir -p corpus/$$target; \
	  cargo +nightly fuzz run $$target corpus/$$target seeds/$$target -- -max_total_time=$(FUZZ_SECONDS) || exit 1; done

doc: ## the documentation of all crates
	$(CARGO) doc --workspace --no-deps

install: release ## executables and example configurations under DESTDIR/PREFIX
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/srs/conf
	install -m 755 target/release/srs target/release/srs-cli $(DESTDIR)$(PREFIX)/bin/
	install -m 644 conf/*.conf conf/demo.flv $(DESTDIR)$(PREFIX)/share/srs/conf/

package: release ## a tar archive of what `make install` installs
	rm -rf target/package && $(MAKE) install DESTDIR=$(CURDIR)/target/package
	tar -C target/package -czf target/srs-$$(target/release/srs -v 2>&1)-$$(uname -m).tar.gz .
	@ls -l target/srs-*.tar.gz

clean: ## remove what was built
	$(CARGO) clean
