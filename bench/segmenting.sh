#!/bin/bash
# What segmenting costs, and whether it moves RTMP viewers: 500 streams of 1 Mbit/s with one viewer each, without HLS and with
# it, in turn. Needs `make bench-build` before.
#
#   bench/segmenting.sh [STREAMS [SECONDS]]
set -eu
streams=${1:-500} seconds=${2:-10}
root=$(cd "$(dirname "$0")/.." && pwd)
ulimit -n "$(ulimit -Hn)"
top= srs=
finish() { [ -z "$srs" ] || kill "$srs" 2>/dev/null || true; wait 2>/dev/null || true; [ -z "$top" ] || rm -rf "$top"; }
trap finish EXIT
for hls in off on off on; do
  top=$(mktemp -d /dev/shm/srs-bench-segmenting.XXXXXX)
  cat >"$top/srs.conf" <<CONF
listen 127.0.0.1:19370; daemon off; srs_log_tank console; srs_log_level warn; pid $top/srs.pid; runtime_dir $top/run;
max_connections 20000;
limits { unestablished_per_ip 100000; unestablished_total 100000; }
http_server { enabled on; listen 127.0.0.1:0; dir $top; }
vhost __defaultVhost__ { mw_latency 100; hls { enabled $hls; hls_storage memory; hls_fragment 4; hls_window 12; } }
CONF
  "${SRS:-$root/target/release/srs}" -c "$top/srs.conf" >"$top/log" 2>&1 & srs=$!
  until [ -s "$top/run/ports.json" ]; do kill -0 "$srs"; sleep 0.1; done
  echo "hls { enabled $hls; }"
  "$root/target/release/srs-bench" load --url rtmp://127.0.0.1:19370/live/bench --server-pid "$srs" --streams "$streams" \
    --viewers 1 --video-kbps 952 --within 4 --settle 6 --duration "$seconds"
  kill "$srs"; wait "$srs" || true
  srs= ; rm -rf "$top"; top=
done
