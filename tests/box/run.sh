#!/usr/bin/env bash
# A relay on a box whose line behaves as lines do, in network namespaces: it is started before there is a network or a name
# that resolves, its WAN address changes, the link drops, the interface gets another name; and its root file system cannot be
# written. After each it carries the stream again within the time given, and its player on the LAN was never cut off.
#
#   tests/box/run.sh [path to weir]     needs root
set -euo pipefail
cd "$(dirname "$0")/../.."

[ "$(id -u)" = 0 ] || { echo "box: this needs root, for namespaces" >&2; exit 1; }
target=${CARGO_TARGET_DIR:-target}
weir=$(realpath "${1:-$target/release/weir}")
source=box-source-$$ box=box-relay-$$
work=$(mktemp -d)
pids=() passed=0

cleanup() {
  for pid in "${pids[@]}"; do kill -KILL "$pid" 2>/dev/null || true; done
  wait 2>/dev/null || true
  for ns in "$source" "$box"; do
    ip netns del "$ns" 2>/dev/null || true
    rm -rf "/etc/netns/$ns"
  done
  rm -rf "$work"
}
trap cleanup EXIT

fail() {
  echo "FAILED: $1" >&2
  tail -n 30 "$work"/*.log >&2
  exit 1
}

for ns in "$source" "$box"; do
  mkdir -p "/etc/netns/$ns"
  echo '127.0.0.1 localhost' >"/etc/netns/$ns/hosts"
  echo 'nameserver 127.0.0.1' >"/etc/netns/$ns/resolv.conf"
  ip netns add "$ns"
  ip -n "$ns" link set lo up
done
ip -n "$source" link add wan0 type veth peer name wan0 netns "$box"
ip -n "$source" link set wan0 up
ip -n "$source" addr add 10.90.0.1/24 dev wan0
# The source is behind both of the box's ways.
ip -n "$source" addr add 10.99.0.1/32 dev lo
ip -n "$source" link add wan1 type veth peer name wan1 netns "$box"
ip -n "$source" link set wan1 up
ip -n "$source" addr add 10.91.0.1/24 dev wan1
on_box() { ip netns exec "$box" "$@"; }
# address IP DEVICE: as a redial brings it, with its route.
address() {
  on_box ip addr replace "$1/24" dev "$2"
  on_box ip route replace default via "${1%.*}.1"
}

: >"$work/relay.log"
"$weir" keygen --out "$work/key" >"$work/public"
ip netns exec "$source" "$weir" source --key "$work/key" --input assets/loop.mp3 --repeat --bind 10.99.0.1:8479 \
  >/dev/null 2>"$work/source.log" &
pids+=($!)

# No network, no name server, and a root that cannot be written. The log goes through a pipe: it is not what is counted.
# What `ip netns exec` has mounted over /etc is made read-only too: where a name is looked up in a file that has just been
# changed, the kernel notes the time of reading, and that is a write.
ip netns exec "$box" unshare --mount sh -c '
  for at in / /etc/hosts /etc/resolv.conf; do mount -o remount,bind,ro "$at" || exit; done
  exec "$@"' -- \
  "$weir" relay "weir://radio.test:8479/$(cat "$work/public")" --state /var/lib/weir-box --bind 0.0.0.0:8479 \
  >/dev/null 2> >(exec cat >"$work/relay.log") &
relay=$!
pids+=("$relay")

status() { on_box "$weir" status --json 2>/dev/null; }
head_block() { status | grep -o '"head_block":[0-9]*' | head -1 | cut -d: -f2; }
now_ms() { date +%s%3N; }

# flows_within SECONDS WHAT: the newest block grows again.
flows_within() {
  local limit=$1 what=$2 began first
  began=$(now_ms)
  # A relay that has only just been started does not answer yet.
  first=$(head_block || true)
  until [ "$(head_block)" -gt $((${first:-0} + 3)) ] 2>/dev/null; do
    [ $(($(now_ms) - began)) -lt $((limit * 1000)) ] || fail "$what: nothing flows after $limit s"
    sleep 0.1
  done
  passed=$((passed + 1))
  echo "  $what: flows after $(($(now_ms) - began)) ms"
}
until_logged() {
  local end=$((SECONDS + 30))
  until grep -q "$1" "$work/relay.log"; do
    [ "$SECONDS" -lt "$end" ] || fail "not logged: $1"
    sleep 0.1
  done
}

until_logged 'page and players at'
until_logged 'temporary node key'
[ "$(status | grep -c '"role":"relay"')" = 1 ] || fail 'it does not answer without a network'
echo '  starts without a network, on a read-only root, and says that its key is temporary'
passed=$((passed + 1))
# From here on: what `mount` wrote before the relay took its place is counted with it.
bytes_written() { sed -n 's/^write_bytes: //p' "/proc/$relay/io"; }
written_at_start=$(bytes_written)
until_logged 'radio.test'

# The network comes, then the name.
on_box ip link set wan0 up
address 10.90.0.2 wan0
echo '10.99.0.1 radio.test' >>"/etc/netns/$box/hosts"
# A player on the LAN keeps a relay fetching the whole stream.
ip netns exec "$box" curl -sN --retry 20 --retry-connrefused "http://127.0.0.1:8480/streams/$(cat "$work/public")" -o "$work/heard" &
player=$!
pids+=("$player")
flows_within 25 'the network and the name come up late'

on_box ip addr del 10.90.0.2/24 dev wan0
address 10.90.0.3 wan0
flows_within 15 'another WAN address'

on_box ip link set wan0 down
sleep 5 # as long as a modem's hiccup; not a wait for anything
on_box ip link set wan0 up
address 10.90.0.3 wan0
flows_within 15 'the link drops for 5 s'

on_box ip link set wan0 down
on_box ip link set wan0 name pppoe-wan
on_box ip link set pppoe-wan up
address 10.90.0.3 pppoe-wan
flows_within 15 'the interface has another name'

kill -0 "$player" 2>/dev/null || fail 'the player was cut off'
heard=$(stat -c %s "$work/heard")
sleep 2 # two seconds of stream
[ "$(stat -c %s "$work/heard")" -gt "$heard" ] || fail 'the player hears nothing any more'
echo '  the player on the LAN was never cut off'
passed=$((passed + 1))

written=$(($(bytes_written) - written_at_start))
[ "$written" = 0 ] || fail "it wrote $written bytes"
echo '  nothing was written to storage'
passed=$((passed + 1))

# Two ways: each address has a route of its own, as on a router with several WANs. One socket is bound to an address that
# comes only later; then the way that carries the stream goes down.
kill -TERM "$relay"
wait "$relay" || fail 'it does not end well'
on_box ip link set wan1 up
for way in 90 91; do on_box ip rule add from "10.$way.0.3" lookup "$way"; done
on_box ip route add default via 10.90.0.1 table 90
ip netns exec "$box" "$weir" relay "weir://radio.test:8479/$(cat "$work/public")" --bind 10.90.0.3:8479 --bind 10.91.0.3:8479 \
  >/dev/null 2>>"$work/relay.log" &
relay=$!
pids+=("$relay")
ip netns exec "$box" curl -sN --retry 20 --retry-connrefused "http://127.0.0.1:8480/streams/$(cat "$work/public")" -o /dev/null &
pids+=($!)
flows_within 25 'one of two ways'
on_box ip addr add 10.91.0.3/24 dev wan1
on_box ip route add default via 10.91.0.1 table 91
until_logged 'udp 10.91.0.3:8479 too'
on_box ip link set pppoe-wan down
flows_within 40 'the other of two ways'
printf 'box: %d passed, 0 failed\n' "$passed"
