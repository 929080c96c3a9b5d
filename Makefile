# The one door. `make` lists what can be done here.

CARGO ?= cargo
CONF ?= conf/demo.conf
PREFIX ?= /usr/local
DESTDIR ?=
SYSCONFDIR ?= /etc
# Where the executables are that are installed; given, they are taken as they are, else they are built.
BIN_DIR ?=
FUZZ_SECONDS ?= 60
# More for the benchmarks: options for srs-bench, and other servers as NAME=COMMAND,URL with | between them.
BENCH_ARGS ?=
PEERS ?=
# What the tests start beside the server.
TEST_PACKAGES = ffmpeg rtmpdump curl jq tmux python3 python3-venv
TEST_TOOLS = $(TARGET_DIR)/test-tools
# Tests that are skipped add a line here.
SKIPPED = $(TEST_TOOLS)/skipped
# A program of a package that is not installed, only unpacked: program, package, its path there, what is missing without.
unpacked = command -v $(1) >/dev/null 2>&1 || [ -x /usr/sbin/$(1) ] || [ -x $(TEST_TOOLS)/$(1) ] \
	  || { cd $(TEST_TOOLS) && { apt-get download -qq $(2) 2>/dev/null \
	      || { apt-get update -qq && apt-get download -qq $(2); }; } && dpkg -x $(2)_*.deb unpacked \
	    && mv unpacked/$(3) . && rm -rf unpacked $(2)_*.deb; } \
	  || echo "$(1) can't be had: $(4)"
# A program whose packages are installed where that can be: program, packages, what is missing without.
install_quietly = DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(1) >/dev/null
installed = command -v $(1) >/dev/null 2>&1 \
	  || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1 \
	    && { $(call install_quietly,$(2)) 2>/dev/null || { apt-get update -qq; $(call install_quietly,$(2)); }; }; } \
	  || echo "$(1) can't be installed: $(3)"

.DEFAULT_GOAL := help
# Where rustup puts cargo, for shells that do not look there.
export PATH := $(PATH):$(HOME)/.cargo/bin
TARGET_DIR = $(or $(CARGO_TARGET_DIR),target)
BUILT = $(or $(BIN_DIR),$(TARGET_DIR)/release)
# What is installed, and from what it is packaged.
CONF_DIR = $(DESTDIR)$(PREFIX)/share/srs/conf
MAN_DIR = $(DESTDIR)$(PREFIX)/share/man/man1
COMPLETIONS = bash-completion/completions/srs-cli zsh/vendor-completions/_srs-cli fish/vendor_completions.d/srs-cli.fish
DOC_DIR = $(DESTDIR)$(PREFIX)/share/doc/srs
UNIT_DIR = $(DESTDIR)$(PREFIX)/lib/systemd/system
UNITS = srs.service srs@.service srs.target srs.socket
# The files of etc/ say /usr; this makes them say PREFIX.
PLACED = sed -e 's,/usr/bin/srs,$(PREFIX)/bin/srs,g; s,/usr/lib/srs,$(PREFIX)/lib/srs,g; s,/usr/share/,$(PREFIX)/share/,g; s,/etc/srs/,$(SYSCONFDIR)/srs/,g'
STAGE = objs/package

.PHONY: help run rust release test test-all test-package test-tools check check-quick check-units fmt bench soak bench-full bench-peers bench-instructions
.PHONY: bench-build fuzz doc install uninstall package clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 22

run: release ## build and run in the foreground with conf/demo.conf, a stream already playing
	@mkdir -p objs
	./target/release/srs -c $(CONF)

rust: ## a Rust that is new enough, installed where it can be
	@etc/ensure-rust $(CARGO) 1.88

release: rust ## the optimised executables srs and srs-cli
	$(CARGO) build --release -p srs -p srs-cli

test: check-quick test-tools ## all tests; installs ffmpeg, curl, tmux and what else they need where it can
	@rm -f $(SKIPPED)
	@SRS_TESTS_SKIPPED=$(abspath $(SKIPPED)) $(CARGO) test --workspace --no-fail-fast; status=$$?; \
	if [ -s $(SKIPPED) ]; then \
	  echo "skipped: $$(sort -u $(SKIPPED) | wc -l), for these reasons:"; sort -u $(SKIPPED) | sed 's/^/  /'; \
	else echo "skipped: none"; fi; exit $$status

test-tools:
	@missing=""; for tool in ffmpeg ffprobe rtmpdump curl jq tmux python3; do command -v $$tool >/dev/null 2>&1 || missing="$$missing $$tool"; done; \
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
	@# A browser for the pages; without it their tests say that they are skipped.
	@$(call installed,chromedriver,chromium chromium-driver,the pages are not looked at in a browser)
	@# An AMF decoder and Prometheus' checker; without them their tests say that they are skipped. The package prometheus
	@# is unpacked, not installed: it would start a server.
	@mkdir -p $(TEST_TOOLS)
	@[ -x $(TEST_TOOLS)/venv/bin/python ] && $(TEST_TOOLS)/venv/bin/python -c 'import pyamf' 2>/dev/null \
	  || { python3 -m venv $(TEST_TOOLS)/venv 2>/dev/null && $(TEST_TOOLS)/venv/bin/pip install --quiet Py3AMF; } \
	  || { [ "$$(id -u)" = 0 ] && apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv >/dev/null \
	    && python3 -m venv $(TEST_TOOLS)/venv && $(TEST_TOOLS)/venv/bin/pip install --quiet Py3AMF; } \
	  || { rm -rf $(TEST_TOOLS)/venv; echo "Py3AMF can't be installed: AMF0 answers are not compared"; }
	@# A newer ffmpeg, which speaks Enhanced RTMP: a package of PyPI has it in it.
	@[ ! -x $(TEST_TOOLS)/venv/bin/python ] || $(TEST_TOOLS)/venv/bin/python -c 'import imageio_ffmpeg' 2>/dev/null \
	  || $(TEST_TOOLS)/venv/bin/pip install --quiet imageio-ffmpeg \
	  || echo "imageio-ffmpeg can't be installed: no encoder of others sends Enhanced RTMP"
	@$(call unpacked,promtool,prometheus,usr/bin/promtool,the metrics are not checked by it)
	@# A proxy and a cache before the server. Its package would start a server, too.
	@$(call unpacked,nginx,nginx,usr/sbin/nginx,nothing is tried behind a proxy)
	@# Its module for RTMP, beside which first contacts of clients are tried.
	@[ -f /usr/lib/nginx/modules/ngx_rtmp_module.so ] || [ -f $(TEST_TOOLS)/ngx_rtmp_module.so ] \
	  || { cd $(TEST_TOOLS) && apt-get download -qq libnginx-mod-rtmp 2>/dev/null && dpkg -x libnginx-mod-rtmp_*.deb unpacked \
	    && mv unpacked/usr/lib/nginx/modules/ngx_rtmp_module.so . && rm -rf unpacked libnginx-mod-rtmp_*.deb; } \
	  || echo "libnginx-mod-rtmp can't be had: nothing is compared with nginx-rtmp"
	@# Players: GStreamer and VLC.
	@$(call installed,gst-launch-1.0,gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good \
	  gstreamer1.0-plugins-bad gstreamer1.0-libav,nothing is played by GStreamer)
	@$(call installed,vlc,vlc-bin vlc-plugin-base,nothing is played by VLC)
	@# An encoder that people use, and a screen for it.
	@$(call installed,obs,obs-studio obs-plugins xvfb libgl1-mesa-dri,nothing is published by OBS)
	@# Players that pages have.
	@$(call installed,npm,npm,no player of npm plays in a browser)
	@[ -d $(TEST_TOOLS)/npm/node_modules/shaka-player ] \
	  || npm install --prefix $(TEST_TOOLS)/npm --silent --no-save --ignore-scripts --no-audit --no-fund hls.js mpegts.js shaka-player \
	  || echo "hls.js, mpegts.js and shaka-player can't be installed: no player of npm plays in a browser"
	@# Checks transport streams.
	@$(call installed,tsreport,tstools,transport streams are read by ffmpeg and by ourselves only)

check: check-quick ## formatting, lints, licences and bans of crates: no warning allowed
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	@if $(CARGO) deny --version >/dev/null 2>&1; then $(CARGO) deny check; \
	else echo "cargo-deny is not installed (cargo install cargo-deny --locked): licences and advisories are not looked at"; fi

# The part that compiles nothing; the tests include it, and the rules of tests/it/tidy*.rs.
check-quick: rust
	@if $(CARGO) fmt --version >/dev/null 2>&1; then $(CARGO) fmt --all --check; \
	else echo "rustfmt is not installed: the formatting is not looked at"; fi

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

soak: release ## long runs on the release: 1000 kills of random children, 100 of the master, 1000 storms, 200 reloads
	SRS_TESTS_BIN_DIR=$(abspath $(BUILT)) SRS_SOAK_KILLS=$${SRS_SOAK_KILLS:-1000} SRS_SOAK_MASTERS=$${SRS_SOAK_MASTERS:-100} \
	  SRS_SOAK_RELOADS=$${SRS_SOAK_RELOADS:-200} SRS_SOAK_VIEWERS=$${SRS_SOAK_VIEWERS:-500} \
	  SRS_SOAK_STORM=$${SRS_SOAK_STORM:-1000} \
	  $(CARGO) test -p srs-tests --test it -- --nocapture --test-threads 1 soak:: storm:: many_reloads_under_load
	SRS_TESTS_BIN_DIR=$(abspath $(BUILT)) $(CARGO) test -p srs-tests --test it three_hundred_players -- --ignored --nocapture

fuzz: ## each fuzz target for FUZZ_SECONDS (needs a nightly toolchain and cargo-fuzz)
	@cd fuzz && for target in $$(ls fuzz_targets | sed 's/\.rs$$//'); do \
	  echo "== $$target"; mkdir -p corpus/$$target; \
	  cargo +nightly fuzz run $$target corpus/$$target seeds/$$target -- -max_total_time=$(FUZZ_SECONDS) || exit 1; done

doc: ## the documentation of all crates
	$(CARGO) doc --workspace --no-deps

install: $(if $(BIN_DIR),,release) ## everything under DESTDIR, PREFIX and SYSCONFDIR; BIN_DIR= takes ready-made executables
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib/srs $(DESTDIR)$(PREFIX)/lib/sysusers.d \
	  $(DESTDIR)$(PREFIX)/lib/tmpfiles.d $(DESTDIR)$(PREFIX)/share/srs/systemd $(CONF_DIR) $(DOC_DIR) $(UNIT_DIR) \
	  $(DESTDIR)$(SYSCONFDIR)/srs $(DESTDIR)$(SYSCONFDIR)/init.d $(DESTDIR)$(SYSCONFDIR)/logrotate.d
	install -m 755 $(BUILT)/srs $(BUILT)/srs-cli $(DESTDIR)$(PREFIX)/bin/
	install -m 755 etc/systemd/sweep $(DESTDIR)$(PREFIX)/lib/srs/
	for unit in $(UNITS); do $(PLACED) etc/systemd/$$unit > $(UNIT_DIR)/$$unit && chmod 644 $(UNIT_DIR)/$$unit || exit 1; done
	install -m 644 etc/systemd/before-253.conf $(DESTDIR)$(PREFIX)/share/srs/systemd/
	install -m 644 etc/sysusers.d/srs.conf $(DESTDIR)$(PREFIX)/lib/sysusers.d/
	install -m 644 etc/tmpfiles.d/srs.conf $(DESTDIR)$(PREFIX)/lib/tmpfiles.d/
	$(PLACED) etc/init.d/srs > $(DESTDIR)$(SYSCONFDIR)/init.d/srs && chmod 755 $(DESTDIR)$(SYSCONFDIR)/init.d/srs
	install -m 644 etc/logrotate.d/srs $(DESTDIR)$(SYSCONFDIR)/logrotate.d/
	if [ ! -e $(DESTDIR)$(SYSCONFDIR)/srs/srs.conf ]; then \
	  $(PLACED) etc/srs.conf > $(DESTDIR)$(SYSCONFDIR)/srs/srs.conf && chmod 644 $(DESTDIR)$(SYSCONFDIR)/srs/srs.conf; fi
	install -m 644 conf/*.conf conf/demo.flv $(CONF_DIR)/
	install -m 644 README.md CHANGELOG.md LICENSE docs/*.md docs/*.txt $(DOC_DIR)/
	install -d $(MAN_DIR) $(dir $(addprefix $(DESTDIR)$(PREFIX)/share/,$(COMPLETIONS)))
	$(DESTDIR)$(PREFIX)/bin/srs-cli man $(MAN_DIR) && chmod 644 $(MAN_DIR)/srs-cli*.1
	for shell in bash zsh fish; do for file in $(COMPLETIONS); do case $$file in $$shell*) \
	  $(DESTDIR)$(PREFIX)/bin/srs-cli completions $$shell > $(DESTDIR)$(PREFIX)/share/$$file \
	    && chmod 644 $(DESTDIR)$(PREFIX)/share/$$file || exit 1;; esac; done; done

uninstall: ## removes what install has put there; configurations that were changed, logs and state stay
	rm -f $(DESTDIR)$(PREFIX)/bin/srs $(DESTDIR)$(PREFIX)/bin/srs-cli $(addprefix $(UNIT_DIR)/,$(UNITS)) \
	  $(DESTDIR)$(PREFIX)/lib/sysusers.d/srs.conf $(DESTDIR)$(PREFIX)/lib/tmpfiles.d/srs.conf \
	  $(DESTDIR)$(SYSCONFDIR)/init.d/srs $(DESTDIR)$(SYSCONFDIR)/logrotate.d/srs \
	  $(MAN_DIR)/srs-cli.1 $(MAN_DIR)/srs-cli-*.1 $(addprefix $(DESTDIR)$(PREFIX)/share/,$(COMPLETIONS))
	rm -rf $(DESTDIR)$(PREFIX)/lib/srs $(DESTDIR)$(PREFIX)/share/srs $(DOC_DIR)
	if $(PLACED) etc/srs.conf | cmp -s - $(DESTDIR)$(SYSCONFDIR)/srs/srs.conf; then rm $(DESTDIR)$(SYSCONFDIR)/srs/srs.conf; fi
	rmdir $(DESTDIR)$(SYSCONFDIR)/srs 2>/dev/null || true

package: $(if $(BIN_DIR),,release) ## a Debian package in target/debian; installs cargo-deb when it is missing
	@$(CARGO) deb --version >/dev/null 2>&1 || $(CARGO) install cargo-deb --locked
	rm -rf $(STAGE) && $(MAKE) install DESTDIR=$(CURDIR)/$(STAGE) PREFIX=/usr SYSCONFDIR=/etc BIN_DIR=$(BUILT)
	strip --strip-debug $(STAGE)/usr/bin/srs $(STAGE)/usr/bin/srs-cli
	$(CARGO) deb --package srs --no-build --no-strip --output target/debian/

test-package: ## builds the Debian package and tries it out, in a fresh Debian where there is debootstrap
	$(MAKE) package
	tests/package.sh $$(ls -t target/debian/srs_*.deb | head -n 1)

test-all: rust ## everything: tests, lints, package, soak, fuzz, benchmarks, ARM; PARTS='…' for some; notes it in docs/last-run.md
	tests/all.sh $(PARTS)

check-units: ## the units as systemd sees them, with their score; needs systemd
	tests/units.sh etc/systemd

clean: ## remove what was built
	$(CARGO) clean
