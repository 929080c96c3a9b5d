#!/bin/sh
# Tries out the Debian package: `tests/package.sh FILE.deb`.
#
# As root with debootstrap: a fresh Debian (SUITE, default bookworm) below a temporary directory, or BASE, one that is there
# already and is only copied. The package is installed there; the server is started by the unit's own ExecStart, as the
# unit's user; ffmpeg publishes, ffprobe plays; reload; stop; the init script; purge, after which nothing is left. Where
# systemd-nspawn can boot that Debian, all of it once more with systemctl. Everything runs in a network namespace of its own.
# Without root or debootstrap: the package is unpacked, and the server is started from there by the unit's ExecStart.
#
# Needs ffmpeg and ffprobe.
set -eu

PACKAGE=$(readlink -f "$1")
SUITE=${SUITE:-bookworm}
# Where this machine has its own packages from; without one debootstrap's own choice.
MIRROR=${MIRROR:-$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 2>/dev/null | grep -v security | head -n 1)}
BASE=${BASE:-}
CLIP=$(readlink -f "$(dirname "$0")/../conf/demo.flv")
SELF=$(readlink -f "$0")

step() {
    printf '== %s\n' "$*"
}

fail() {
    printf 'FAILED: %s\n' "$*" >&2
    exit 1
}

# `until_true SECONDS WHAT COMMAND…`
until_true() {
    left=$(($1 * 10)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        left=$((left - 1))
        [ "$left" -gt 0 ] || fail "$what does not come"
        sleep 0.1
    done
}

# The value of a key in the installed unit.
unit() {
    sed -n "s/^$1=//p" "$ROOT/usr/lib/systemd/system/srs.service"
}

# Publishes for some seconds and plays meanwhile: picture and sound have to arrive.
publish_and_play() {
    ffmpeg -nostdin -loglevel error -re -stream_loop -1 -t "${2:-8}" -i "$CLIP" -c copy -f flv "$1" &
    publisher=$!
    seen=$(timeout 20 ffprobe -v error -show_entries stream=codec_type -of csv=p=0 "$1" | sort | tr '\n' ' ')
    case $seen in
    audio*video*) ;;
    *) fail "ffprobe saw \"$seen\"" ;;
    esac
}

# The files of the system that a package may change, without those that every package changes.
inventory() {
    (cd "$ROOT" && find etc usr var run opt srv home -xdev ! -path 'var/lib/dpkg/*' ! -path 'var/log/*.log' \
        ! -path 'var/cache/*' ! -path 'var/lib/systemd/*' ! -path 'etc/passwd*' ! -path 'etc/group*' ! -path 'etc/shadow*' \
        ! -path 'etc/gshadow*' ! -path 'etc/subuid*' ! -path 'etc/subgid*' ! -path 'run/*' ! -path 'var/log/journal*' \
        ! -path 'var/tmp/systemd-private-*' ! -path '*/.updated' |
        sort)
}

in_root() {
    chroot "$ROOT" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive "$@"
}

# Started as the unit says, by hand.
by_hand() {
    mount --bind /proc "$ROOT/proc"
    in_root dpkg -i /root/srs.deb >/dev/null
    in_root systemd-analyze --version >/dev/null 2>&1 && in_root systemd-analyze verify srs.service srs@edge.service srs.socket
    # What systemd does before it starts the service.
    in_root install -d -o srs -g srs "/run/$(unit RuntimeDirectory)"
    command=$(unit ExecStart)
    user=$(unit User)
    step "start: $command"
    # shellcheck disable=SC2046,SC2086
    chroot --userspec="$user:$(unit Group)" "$ROOT" /usr/bin/env -i $(unit Environment) sh -c "cd $(unit WorkingDirectory) && exec $command" &
    server=$!
    until_true 20 "the server's ports" test -s "$ROOT/run/srs/ports.json"
    [ "$(stat -c %U "/proc/$server")" != root ] || fail "the server runs as root"
    step "publish and play"
    publish_and_play rtmp://127.0.0.1/live/package
    step "reload"
    sed -i 's/^max_connections.*/max_connections 900;/' "$ROOT/etc/srs/srs.conf"
    kill -HUP "$server"
    until_true 10 "the reload" grep -q 'generation 2: max_connections' "$ROOT/var/log/srs/srs.log"
    kill -0 "$publisher" || fail "the publisher has gone"
    ffprobe -v error -show_entries stream=codec_type -of csv=p=0 rtmp://127.0.0.1/live/package >/dev/null || fail "no stream behind the reload"
    kill "$publisher"
    step "the log is rotated"
    mv "$ROOT/var/log/srs/srs.log" "$ROOT/var/log/srs/srs.log.1"
    kill -USR1 "$server"
    until_true 10 "another log" test -s "$ROOT/var/log/srs/srs.log"
    step "stop"
    kill -TERM "$server"
    wait "$server" || fail "the server ended with $?"
    step "the init script"
    in_root /etc/init.d/srs start
    in_root /etc/init.d/srs status
    publish_and_play rtmp://127.0.0.1/live/init
    kill "$publisher"
    in_root /etc/init.d/srs stop
    ! in_root /etc/init.d/srs status || fail "it still runs"
    step "removal stops a running server"
    in_root /etc/init.d/srs start
    pid=$(cat "$ROOT/run/srs/srs.pid")
    in_root dpkg --remove srs >/dev/null
    [ ! -d "/proc/$pid" ] || fail "it still runs"
    [ -e "$ROOT/etc/srs/srs.conf" ] || fail "the configuration has gone"
    purge
}

purge() {
    step "purge"
    in_root dpkg --purge srs >/dev/null
    inventory >"$WORK/after"
    diff "$WORK/before" "$WORK/after" || fail "the purge left something behind, or took it along"
}

# Started by systemctl in the booted system.
booted() {
    inside() {
        nsenter -t "$leader" -a /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive "$@"
    }
    show() {
        inside systemctl show srs.service --property="$1" --value
    }
    is() {
        [ "$(show "$1")" = "$2" ]
    }
    SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 systemd-nspawn --quiet --directory="$ROOT" --boot --register=no --keep-unit \
        --console=pipe --machine="srs-package-$$" </dev/null >"$WORK/boot.log" 2>&1 &
    nspawn=$! leader=
    # Its first child is a helper that soon ends; then it is the booted system's process 1.
    # shellcheck disable=SC2317
    is_up() {
        read -r leader _ <"/proc/$nspawn/task/$nspawn/children" || [ -n "$leader" ] || return 1
        inside systemctl is-active basic.target
    }
    until_true 60 "the booted system" is_up
    step "systemctl: $(inside systemctl --version | head -n 1)"
    inside dpkg -i /root/srs.deb >/dev/null 2>&1
    is ActiveState active || fail "the installation did not start the service: $(inside systemctl status srs)"
    inside systemctl is-enabled srs.service >/dev/null
    scores=$(for pid in $(inside cat /sys/fs/cgroup/system.slice/srs.service/cgroup.procs); do
        inside cat "/proc/$pid/oom_score_adj"
    done | sort -nu | tr '\n' ' ')
    # In a container systemd may not give the master a score below 0.
    [ "${scores#-500 }" = "0 100 200 " ] || fail "the scores for the end by lack of memory are $scores"
    publish_and_play rtmp://127.0.0.1/live/systemd
    step "reload"
    inside sed -i 's/^max_connections.*/max_connections 900;/' /etc/srs/srs.conf
    inside systemctl reload srs.service || fail "reload"
    until_true 10 "the reload" grep -q 'generation 2: max_connections' "$ROOT/var/log/srs/srs.log"
    kill -0 "$publisher" || fail "the publisher has gone"
    kill "$publisher"
    inside logrotate -f /etc/logrotate.d/srs 2>/dev/null || echo "no logrotate there"
    step "signs of life"
    before=$(show MainPID)
    sleep 12
    is MainPID "$before" || fail "systemd missed the signs of life"
    step "kill -9 of the master"
    publish_and_play rtmp://127.0.0.1/live/goes_on 60
    [ "$(show NFileDescriptorStore)" -ge 2 ] || fail "no socket is kept"
    # Stands for a child that the master does not end.
    stray=$(inside sh -c 'setpriv --reuid srs --regid srs --init-groups sleep 600 >/dev/null & echo $!')
    inside sh -c "echo $stray > /sys/fs/cgroup/system.slice/srs.service/cgroup.procs"
    inside sh -c "kill -9 $(show MainPID)"
    # Who comes before the next master waits.
    until_true 5 "the time between two masters" is SubState auto-restart
    # The processes answer; that the master is dead is said by exit code 3.
    status=0
    inside timeout 20 srs-cli streams >"$WORK/gap" 2>&1 || status=$?
    case $status in
    0 | 3) grep -q goes_on "$WORK/gap" || fail "srs-cli does not show the stream: $(cat "$WORK/gap")" ;;
    *) fail "srs-cli ended with $status: $(cat "$WORK/gap")" ;;
    esac
    until_true 10 "the restart" is NRestarts 1
    until_true 10 "the restarted service" is ActiveState active
    kill -0 "$publisher" || fail "the publisher has gone"
    ffprobe -v error -show_entries stream=codec_type -of csv=p=0 rtmp://127.0.0.1/live/goes_on >/dev/null || fail "no stream"
    kill "$publisher"
    inside test -d "/proc/$stray" || fail "the end of the master was the end of others"
    step "an instance"
    inside cp /usr/share/srs/conf/realtime.conf /etc/srs/second.conf
    inside sed -i 's/^listen .*/listen 1936;/; s/1985/1986/' /etc/srs/second.conf
    inside systemctl enable --quiet --now srs@second.service
    publish_and_play rtmp://127.0.0.1:1936/live/second
    kill "$publisher"
    [ -s "$ROOT/var/log/srs/second.log" ] || fail "the instance has no log of its own"
    step "an upgrade leaves the server alone"
    before=$(show MainPID)
    inside dpkg -i /root/srs.deb >/dev/null
    is MainPID "$before" || fail "the upgrade restarted the server"
    step "stop"
    inside systemctl stop srs.service
    is Result success || fail "the stop: $(show Result)"
    ! inside test -d "/proc/$stray" || fail "processes are left behind a stop"
    inside systemctl start srs.service
    step "purge"
    inside dpkg --purge srs >/dev/null 2>&1
    ! inside systemctl is-active srs.service srs@second.service >/dev/null || fail "it still runs"
    inside rm -r /etc/srs
    inventory >"$WORK/after"
    diff "$WORK/before-boot" "$WORK/after" || fail "the purge left something behind, or took it along"
    kill -RTMIN+4 "$leader" 2>/dev/null || true
    wait "$nspawn" || true
}

# No root, or no Debian to be had: what the package holds, from where it was unpacked.
unpacked() {
    step "unpacked into a directory (no root or no debootstrap: no installation is tried)"
    ROOT=$WORK/root
    dpkg-deb -x "$PACKAGE" "$ROOT"
    mkdir -p "$WORK/run"
    port=$((20000 + $$ % 20000))
    command=$(unit ExecStart)
    program=${command%% *}
    file=${command##* }
    SRS_DAEMON=off SRS_LISTEN=127.0.0.1:$port SRS_HTTP_API_ENABLED=off SRS_PID=$WORK/run/srs.pid SRS_RUNTIME_DIR=$WORK/run \
        SRS_LOG_FILE=$WORK/srs.log "$ROOT$program" -c "$ROOT$file" &
    server=$!
    until_true 20 "the server's ports" test -s "$WORK/run/ports.json"
    publish_and_play "rtmp://127.0.0.1:$port/live/package"
    kill -HUP "$server"
    kill "$publisher"
    kill -TERM "$server"
    wait "$server" || fail "the server ended with $?"
}

# The part that runs in namespaces of its own: what it leaves running ends with it.
if [ "${2:-}" = inside ]; then
    ROOT=$WORK/root
    ip link set lo up 2>/dev/null || ifconfig lo up
    "$3"
    exit 0
fi

WORK=$(mktemp -d)
export WORK
trap 'rm -rf --one-file-system "$WORK"' EXIT

if [ "$(id -u)" != 0 ] || { [ -z "$BASE" ] && ! command -v debootstrap >/dev/null 2>&1; }; then
    unpacked
    step "all is well, as far as it was tried"
    exit 0
fi

ROOT=$WORK/root
if [ -n "$BASE" ]; then
    cp -a "$BASE" "$ROOT"
else
    step "debootstrap $SUITE"
    # shellcheck disable=SC2086
    debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,passwd "$SUITE" "$ROOT" $MIRROR >"$WORK/debootstrap.log" ||
        fail "debootstrap: $(tail -n 3 "$WORK/debootstrap.log")"
fi
cp "$PACKAGE" "$ROOT/root/srs.deb"
inventory >"$WORK/before"
unshare --net --pid --fork --mount-proc "$SELF" "$PACKAGE" inside by_hand
if command -v systemd-nspawn >/dev/null 2>&1; then
    inventory >"$WORK/before-boot"
    unshare --net --pid --fork --mount-proc "$SELF" "$PACKAGE" inside booted
else
    step "systemd-nspawn is missing: nothing was tried with systemctl"
fi
step "all is well"
