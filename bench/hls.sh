#!/bin/bash
# HLS from memory beside nginx with the same files on a memory file system: requests a second and processor time for a list
# and for a segment, 1000 connections that stay. Needs wrk, nginx, ffmpeg, curl, and `make bench-build` before.
#
#   bench/hls.sh [SECONDS [CONNECTIONS]]
set -eu
seconds=${1:-5} connections=${2:-1000}
for program in wrk nginx ffmpeg curl; do
  PATH=$PATH:/usr/sbin command -v "$program" >/dev/null || { echo "SKIPPED: $program is not installed"; exit 0; }
done
PATH=$PATH:/usr/sbin
root=$(cd "$(dirname "$0")/.." && pwd)
top=$(mktemp -d /dev/shm/srs-bench-hls.XXXXXX)
chmod 755 "$top"
ulimit -n "$(ulimit -Hn)"
cat >"$top/srs.conf" <<CONF
listen 127.0.0.1:0; daemon off; srs_log_tank console; srs_log_level warn; pid $top/srs.pid; runtime_dir $top/run;
max_connections 20000;
limits { unestablished_per_ip 100000; unestablished_total 100000; }
http_server { enabled on; listen 127.0.0.1:0; dir $top; }
vhost __defaultVhost__ { hls { enabled on; hls_storage memory; hls_fragment 2; hls_window 600; hls_ctx off; } }
CONF
pids=()
finish() { kill "${pids[@]}" 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$top"; }
trap finish EXIT
"${SRS:-$root/target/release/srs}" -c "$top/srs.conf" >"$top/log" 2>&1 & srs=$!
pids+=("$srs")
until [ -s "$top/run/ports.json" ]; do kill -0 "$srs"; sleep 0.1; done
rtmp=$(tr -d '\n' <"$top/run/ports.json" | sed 's/.*"rtmp": *\[ *"\([^"]*\)".*/\1/')
web=$(tr -d '\n' <"$top/run/ports.json" | sed 's/.*"http_server": *"\([^"]*\)".*/\1/')
ffmpeg -v error -re -f lavfi -i testsrc2=s=640x360:r=25 -f lavfi -i sine -c:v libx264 -preset ultrafast -b:v 1M -g 50 -c:a aac \
  -t 600 -f flv "rtmp://$rtmp/live/bench" & pids+=($!)
publisher=$!
list=http://$web/live/bench.m3u8
until [ "$(curl -s "$list" | grep -c '\.ts')" -ge 5 ]; do kill -0 "$publisher"; sleep 0.2; done
kill "$publisher"; wait "$publisher" 2>/dev/null || true
mkdir -p "$top/www/live"
curl -s "$list" -o "$top/www/live/bench.m3u8"
segment=$(grep '\.ts' "$top/www/live/bench.m3u8" | sed -n 3p)
curl -s "http://$web/live/$segment" -o "$top/www/live/${segment%%\?*}"
cat >"$top/nginx.conf" <<CONF
worker_processes 1; daemon off; pid $top/nginx.pid; error_log stderr crit;
events { worker_connections 4096; }
http {
  types { application/vnd.apple.mpegurl m3u8; video/mp2t ts; }
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000000; open_file_cache max=100;
  client_body_temp_path $top/t1; proxy_temp_path $top/t2; fastcgi_temp_path $top/t3; uwsgi_temp_path $top/t4; scgi_temp_path $top/t5;
  server { listen 127.0.0.1:19380; root $top/www; }
}
CONF
nginx -c "$top/nginx.conf" & nginx=$!
pids+=("$nginx")
until curl -s -o /dev/null http://127.0.0.1:19380/live/bench.m3u8; do kill -0 "$nginx"; sleep 0.1; done
# Processor time of a process and its children, in clock ticks.
ticks() { cat "/proc/$1/stat" $(sed 's,[0-9][0-9]*,/proc/&/stat,g' "/proc/$1/task/$1/children") | awk '{ sub(/^.*\) /, ""); n += $12 + $13 } END { print n }'; }
one() { # NAME PID URL
  local before after out
  before=$(ticks "$2")
  out=$(wrk -t1 -c "$connections" -d "${seconds}s" "$3")
  after=$(ticks "$2")
  echo "$out" | awk -v name="$1" -v cpu="$((after - before))" -v hz="$(getconf CLK_TCK)" -v s="$seconds" '
    /requests in/ { requests = $1; bytes = $5 }
    /Requests\/sec/ { rate = $2 }
    /Socket errors|Non-2xx/ { bad = $0 }
    END { unit = bytes; sub(/[0-9.]+/, "", unit); sub(/[A-Z]+$/, "", bytes)
      gbit = bytes * (unit == "GB" ? 8.59 : unit == "MB" ? 0.00839 : 0.0000082)
      printf "| %s | %.0f | %.2f | %.1f | %.4f | %s |\n", name, rate, gbit / s, cpu / hz * 1e6 / requests, cpu / hz / gbit, bad ? bad : "none" }'
}
echo "| what | requests/s | Gbit/s | CPU µs a request | CPU s/Gbit | errors |"
echo "|---|---|---|---|---|---|"
for round in 1 2; do
  for what in "list bench.m3u8" "segment ${segment%%\?*}"; do
    set -- $what
    one "$1, srs from memory, round $round" "$srs" "http://$web/live/$2"
    one "$1, nginx, round $round" "$nginx" "http://127.0.0.1:19380/live/$2"
  done
done
ls -l "$top/www/live" | awk 'NR > 1 { print $9 ": " $5 " bytes" }'
