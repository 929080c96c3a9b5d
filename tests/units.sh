#!/bin/sh
# The units as systemd sees them: `tests/units.sh DIRECTORY` fails on any complaint of `systemd-analyze verify`, and when the
# score of `systemd-analyze security` (0 is best, 10 worst) is above MAX_SCORE. Prints the score.
set -eu

MAX_SCORE=${MAX_SCORE:-2.0}
units=$1
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
system=$root/usr/lib/systemd/system
mkdir -p "$system"

# Executables that the units name have to be there; whether they are the right ones is another test's question.
sed -n 's/^Exec[A-Za-z]*=\([^ ]*\).*/\1/p' "$units"/srs*.service | sort -u | while read -r program; do
    mkdir -p "$root${program%/*}"
    cp /bin/true "$root$program"
done
# Units of the system that ours refer to.
for place in /usr/lib/systemd/system /lib/systemd/system; do
    [ ! -d "$place" ] || cp "$place"/*.target "$system/"
done
cp "$units"/srs.service "$units"/srs@.service "$units"/srs.target "$units"/srs.socket "$system/"

version=$(systemctl --version | sed -n '1s/^systemd \([0-9]*\).*/\1/p')
if [ "$version" -lt 253 ]; then
    echo "systemd $version knows no Type=notify-reload: checked as Type=notify"
    sed -i 's/^Type=notify-reload$/Type=notify/' "$system"/srs.service "$system"/srs@.service
fi

said=$(systemd-analyze --man=no verify --root="$root" srs.service srs@edge.service srs.target srs.socket 2>&1) || {
    echo "$said"
    exit 1
}
if [ -n "$said" ]; then
    echo "$said"
    exit 1
fi
for unit in srs.service srs@edge.service; do
    threshold=$(echo "$MAX_SCORE" | sed 's/\([0-9]*\)\.\([0-9]\).*/\1\2/')
    systemd-analyze security --no-pager --offline=true --root="$root" --threshold="$threshold" "$unit" | tail -n 1
done
