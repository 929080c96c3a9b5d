#!/bin/bash
# Files beside nginx, both from a memory file system: requests a second for one of 4 kB and one of 300 kB. Needs wrk, nginx,
# and `make bench-build` before.
#
#   bench/files.sh [SECONDS [CONNECTIONS]]
set -eu
seconds=${1:-4} connections=${2:-200}
PATH=$PATH:/usr/sbin
for program in wrk nginx; do
  command -v "$program" >/dev/null || { echo "SKIPPED: $program is not installed"; exit 0; }
done
root=$(cd "$(dirname "$0")/.." && pwd)
top=$(mktemp -d /dev/shm/srs-bench-files.XXXXXX)
chmod 755 "$top"
ulimit -n "$(ulimit -Hn)"
head -c 4000 /dev/urandom >"$top/small.bin"
head -c 300000 /dev/urandom >"$top/large.bin"
cat >"$top/srs.conf" <<CONF
listen 127.0.0.1:0; daemon off; srs_log_tank console; srs_log_level warn; pid $top/srs.pid; runtime_dir $top/run;
max_connections 20000;
http_server { enabled on; listen 127.0.0.1:0; dir $top; }
vhost __defaultVhost__ { }
CONF
cat >"$top/nginx.conf" <<CONF
worker_processes 1; daemon off; pid $top/nginx.pid; error_log stderr crit;
events { worker_connections 4096; }
http {
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000000;
  client_body_temp_path $top/t1; proxy_temp_path $top/t2; fastcgi_temp_path $top/t3; uwsgi_temp_path $top/t4; scgi_temp_path $top/t5;
  server { listen 127.0.0.1:19380; root $top; }
}
CONF
pids=()
finish() { kill "${pids[@]}" 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$top"; }
trap finish EXIT
"${SRS:-$root/target/release/srs}" -c "$top/srs.conf" >"$top/log" 2>&1 & srs=$!
pids+=("$srs")
nginx -c "$top/nginx.conf" & nginx=$!
pids+=("$nginx")
until [ -s "$top/run/ports.json" ]; do kill -0 "$srs"; sleep 0.1; done
web=$(tr -d '\n' <"$top/run/ports.json" | sed 's/.*"http_server": *"\([^"]*\)".*/\1/')
until curl -s -o /dev/null http://127.0.0.1:19380/small.bin; do kill -0 "$nginx"; sleep 0.1; done
echo "| file | round | srs, requests/s | nginx, requests/s |"
echo "|---|---|---|---|"
rate() { wrk -t1 -c "$connections" -d "${seconds}s" "$1" | awk '/Non-2xx/ { bad = " (" $0 ")" } /Requests\/sec/ { rate = $2 } END { print rate bad }'; }
for file in small large; do
  for round in 1 2; do
    echo "| $file | $round | $(rate "http://$web/$file.bin") | $(rate "http://127.0.0.1:19380/$file.bin") |"
  done
done
