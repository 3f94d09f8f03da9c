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
