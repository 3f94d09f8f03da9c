#!/bin/sh
# Two boxes on one network, of which the second knows no address that answers: it must find the first by multicast DNS and
# carry its stream. A third party (python-zeroconf) must see both, and see them go. run.sh [path to weir]; needs root for
# network namespaces, ffmpeg and python3. Without one of them it says so and passes, except in continuous integration (CI=true).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
weir=${1:-$here/../../target/release/weir}
name=${NS:-weir-lan}-$$
skip() {
    echo "SKIPPED: $1"
    [ "${CI:-}" != true ]
    exit
}
for program in ffmpeg python3 ip curl; do
    command -v "$program" >/dev/null || skip "$program is not installed"
done
work=$(mktemp -d)
one=$name-1 two=$name-2
ip netns add "$one" 2>/dev/null || skip "no network namespaces here; root has them"
pids=
end() {
    for pid in $pids; do kill "$pid" 2>/dev/null || :; done
    ip netns del "$one" 2>/dev/null || :
    ip netns del "$two" 2>/dev/null || :
    rm -rf "$work"
}
trap end EXIT
ip netns add "$two"
ip -n "$one" link add lan0 type veth peer name lan0 netns "$two"
for box in 1 2; do
    ip -n "$name-$box" link set lo up
    ip -n "$name-$box" addr add 10.77.0.$box/24 dev lan0
    ip -n "$name-$box" addr add fd77::$box/64 dev lan0 nodad
    ip -n "$name-$box" link set lan0 up
done
venv=$work/venv
python3 -m venv "$venv" && "$venv/bin/pip" install -q --disable-pip-version-check 'zeroconf==0.148.0' ||
    skip "python-zeroconf cannot be installed"

# until_ok SECONDS WHAT COMMAND...: tries again until it succeeds.
until_ok() {
    left=$(($1 * 5)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        left=$((left - 1))
        if [ $left -le 0 ]; then
            echo "FAILED: $what"
            tail -n 20 "$work"/*.log
            exit 1
        fi
        sleep 0.2
    done
    echo "ok    $what"
}
in_box() {
    box=$1
    shift
    ip netns exec "$name-$box" "$@"
}
flows() { in_box "$1" curl -sf "http://10.77.0.$1:8480/status.json" | grep -q '"state":"live"'; }

"$weir" keygen --out "$work/key" >/dev/null
ffmpeg -v error -nostdin -f lavfi -i sine=440 -t 30 -b:a 128k "$work/tone.mp3"
ip netns exec "$one" "$weir" source --key "$work/key" --input "$work/tone.mp3" --repeat --name "Shed Radio" \
    --http 10.77.0.1:8480 >"$work/uri" 2>"$work/source.log" &
pids="$pids $!"
until_ok 20 "the source is up" grep -q weir:// "$work/uri"
key=$(sed 's|.*/||;q' "$work/uri")
# Nobody is at that address: what it finds, it finds on the LAN.
ip netns exec "$two" "$weir" listen "weir://10.77.0.99:8479/$key" --http 10.77.0.2:8480 >/dev/null 2>"$work/listener.log" &
listener=$!
pids="$pids $listener"
until_ok 40 "a box that knows nobody finds the one on its network and plays" flows 2
in_box 1 "$venv/bin/python" "$here/look.py" 10.77.0.1 2
echo "ok    another program sees both, with their pages and streams"
kill "$listener"
in_box 1 "$venv/bin/python" "$here/look.py" 10.77.0.1 1
echo "ok    and sees one go"

# Two boxes from one copied disk: one key, and one name, until they meet. Each must be found, under a name of its own, and a
# responder that is there already (avahi), where one is installed, must go on beside them.
mkdir "$work/disk"
if command -v avahi-daemon >/dev/null; then
    printf '[server]\nhost-name=other\nenable-dbus=no\n[publish]\npublish-hinfo=no\npublish-workstation=no\n' >"$work/avahi.conf"
    # With a /run of its own: the machine may have an avahi too.
    ip netns exec "$two" sh -c 'mount -t tmpfs tmpfs /run && exec avahi-daemon --no-drop-root --no-chroot -f "$1"' avahi \
        "$work/avahi.conf" >"$work/avahi.log" 2>&1 &
    pids="$pids $!"
    until_ok 20 "avahi is there first" grep -q 'startup complete' "$work/avahi.log"
fi
for box in 1 2; do
    cp -r "$work/disk" "$work/disk-$box"
    ip netns exec "$name-$box" "$weir" relay "weir://10.77.0.99:8479/$key" --bind 0.0.0.0:9479 --http "10.77.0.$box:9480" \
        --state "$work/disk-$box" 2>"$work/copy-$box.log" &
    pids="$pids $!"
    # The first writes the key; the second has a copy of it.
    until_ok 20 "box $box has a key" test -s "$work/disk-$box/node.key"
    cp "$work/disk-$box/node.key" "$work/disk/node.key"
done
until_ok 20 "one of them takes another name" grep -qh 'another box has this name' "$work/copy-1.log" "$work/copy-2.log"
in_box 1 "$venv/bin/python" "$here/look.py" 10.77.0.1 3
echo "ok    each is found under a name of its own"

# Who asks from beyond this network: what it is sent keeps to the upload limit, and is counted as the device counts it. Nobody else
# talks on that network any more.
for pid in $pids; do kill "$pid" 2>/dev/null || :; done
for pid in $pids; do wait "$pid" 2>/dev/null || :; done
for box in 1 2; do
    ip -n "$name-$box" addr add 198.18.0.$box/24 dev lan0
    # Packets are cut apart before they are counted.
    ip -n "$name-$box" link set lan0 gso_max_segs 1
done
limit_bps=400000
ip netns exec "$one" "$weir" source --key "$work/key" --input "$work/tone.mp3" --repeat --bind 127.0.0.1:7479 --mdns off \
    --http 0.0.0.0:7480 --http-public --upload-limit ${limit_bps}bit >"$work/uri" 2>"$work/beyond.log" &
pids=$!
until_ok 20 "a source is up that answers everybody" grep -q weir:// "$work/uri"
on_line() { in_box 1 awk '$1 == "lan0:" { print $10 - 14 * $11 }' /proc/net/dev; }
counted() {
    in_box 1 curl -sf http://127.0.0.1:7480/status.json |
        python3 -c 'import json, sys; print(json.load(sys.stdin)["upload"]["bytes_total"])'
}
ask() { in_box 2 timeout 6 sh -c 'while :; do curl -s -o "$0" http://198.18.0.1:7480/ && echo; sleep 0.1; done' /dev/null; }
line=$(on_line) bytes=$(counted) begun=$(date +%s%N)
asking=
for n in 1 2 3 4 5 6 7 8; do
    ask >"$work/asked-$n" &
    asking="$asking $!"
done
for pid in $asking; do wait "$pid" || :; done
# Sets `sent`, `counted_bytes` and `most`.
look_at_the_line() {
    sent=$(($(on_line) - line)) counted_bytes=$(($(counted) - bytes))
    most=$((limit_bps / 8 * (($(date +%s%N) - begun) / 1000000) / 1000))
}
look_at_the_line
answers=$(cat "$work"/asked-* | wc -l)
if [ "$answers" -lt 4 ] || [ "$sent" -gt "$most" ]; then
    echo "FAILED: who asks from beyond got $answers pages and $sent bytes of the $most there may be"
    exit 1
fi
echo "ok    who asks from beyond waits for room on the line: $answers pages, $sent bytes of at most $most"
as_counted() {
    look_at_the_line
    [ $((counted_bytes * 100)) -ge $((sent * 99)) ] && [ $((counted_bytes * 100)) -le $((sent * 102)) ]
}
until_ok 10 "what it was sent is counted" as_counted
