#!/bin/sh
# Everything that can be tried, one part after the other: `tests/all.sh [PART…]`; a part that fails does not keep the others
# from being tried. What came of it is printed, and noted in docs/last-run.md.
#
#   tests     make test: unit tests, the real server against real clients and browsers
#   lints     make check
#   units     the systemd units (needs systemd)
#   package   the Debian package, in a fresh Debian (needs root and debootstrap for all of it)
#   soak      kills, storms and reloads for long
#   fuzz      each fuzz target for FUZZ_SECONDS (needs a nightly toolchain and cargo-fuzz)
#   bench     all benchmarks in short, and instructions (needs valgrind)
#   arm       the executables for 64-bit and 32-bit ARM (needs the targets of rustup and linkers)
set -u

cd "$(dirname "$0")/.." || exit 1
PARTS=${*:-tests lints units package soak fuzz bench arm}
LOGS=${LOGS:-target/test-all}
NOTE=docs/last-run.md
FUZZ_SECONDS=${FUZZ_SECONDS:-60}
mkdir -p "$LOGS"

# Installs Debian packages where that can be; a part says itself what it cannot do without.
packages() {
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1 || return 0
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null 2>&1 ||
        { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"; } >/dev/null 2>&1 || true
}

# Says why a part is not tried.
skip() {
    echo "skipped: $*"
    return 77
}

tests() {
    make test
}

lints() {
    make check
}

units() {
    command -v systemd-analyze >/dev/null 2>&1 || packages systemd
    command -v systemd-analyze >/dev/null 2>&1 || { skip "there is no systemd-analyze"; return; }
    make check-units
}

package() {
    packages debootstrap systemd-container
    make test-package
}

soak() {
    make soak
}

fuzz() {
    cargo +nightly --version >/dev/null 2>&1 || { skip "there is no nightly toolchain"; return; }
    cargo fuzz --version >/dev/null 2>&1 || cargo install --quiet cargo-fuzz --locked || { skip "cargo-fuzz can't be installed"; return; }
    make fuzz FUZZ_SECONDS="$FUZZ_SECONDS"
}

bench() {
    make bench || return
    packages valgrind
    command -v valgrind >/dev/null 2>&1 || { skip "instructions: there is no valgrind"; return; }
    make bench-instructions
}

# One target: triple, Debian's package of the linker, its program.
cross() {
    rustup target list --installed 2>/dev/null | grep -qx "$1" || rustup target add "$1" >/dev/null 2>&1 ||
        { echo "skipped: there is no $1 for this Rust"; return 77; }
    packages "$2"
    command -v "$3" >/dev/null 2>&1 || { echo "skipped: there is no $3"; return 77; }
    variable=CARGO_TARGET_$(echo "$1" | tr a-z- A-Z_)_LINKER
    env "$variable=$3" CC_"$(echo "$1" | tr - _)"="$3" cargo build --release -p srs -p srs-cli --target "$1"
}

arm() {
    cross aarch64-unknown-linux-gnu gcc-aarch64-linux-gnu aarch64-linux-gnu-gcc
    first=$?
    cross armv7-unknown-linux-gnueabihf gcc-arm-linux-gnueabihf arm-linux-gnueabihf-gcc
    second=$?
    [ "$first" -gt "$second" ] && return "$first"
    return "$second"
}

failed=0
commit=$(git rev-parse --short HEAD 2>/dev/null || echo unknown)
mkdir -p "$LOGS/rows"
# What former runs have found of the other parts stays.
[ ! -f "$NOTE" ] || grep '^| [a-z]* |' "$NOTE" | grep -v '^| part ' | while read -r row; do
    part=$(echo "$row" | cut -d' ' -f2)
    echo "$row" >"$LOGS/rows/$part"
done
for part in $PARTS; do
    echo "== $part"
    began=$(date +%s)
    "$part" >"$LOGS/$part.log" 2>&1
    status=$?
    minutes=$((($(date +%s) - began + 59) / 60))
    case $status in
    0) result=passed ;;
    77) result=$(grep '^skipped' "$LOGS/$part.log" | tail -n 1) ;;
    *) result=FAILED failed=1 ;;
    esac
    detail=$(awk '/^test result:/ { passed += $4; failed += $6 } END { if (passed + failed) printf "%d passed, %d failed", passed, failed }' "$LOGS/$part.log")
    echo "   $result${detail:+ ($detail)}, $minutes min; $LOGS/$part.log"
    echo "| $part | $result${detail:+: $detail} | $minutes | $(date -u +%Y-%m-%d) | $commit |" >"$LOGS/rows/$part"
done
{
    echo "# Last run of \`make test-all\`"
    echo
    # shellcheck disable=SC1091
    echo "$(. /etc/os-release && echo "$PRETTY_NAME"), Linux $(uname -r | cut -d- -f1), $(uname -m), $(nproc) cores, $(rustc --version | cut -d' ' -f1,2). \`make test-all PARTS='…'\` tries some parts anew; the script makes this page."
    echo
    echo "| part | result | minutes | date | commit |"
    echo "|---|---|---|---|---|"
    for part in tests lints units package soak fuzz bench arm; do
        [ ! -f "$LOGS/rows/$part" ] || cat "$LOGS/rows/$part"
    done
} >"$NOTE"
exit $failed
