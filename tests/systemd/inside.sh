#!/bin/bash
# Runs inside the container, as a unit of its systemd. What is looked at goes to /test/log, "well" to /test/outcome.
set -euo pipefail
exec >>/test/log 2>&1

relay=weir-relay.service
source=weir-source@test.service

say() { printf '%4d s  %s\n' "$SECONDS" "$1"; }

fail() {
  say "FAILED: $1"
  systemctl status --no-pager -l "$relay" "$source" || true
  journalctl --no-pager -n 60 || true
  exit 1
}

# until_true WHAT COMMAND...: within 30 s.
until_true() {
  local what=$1 end=$((SECONDS + 30))
  shift
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$end" ] || fail "$what"
    sleep 0.1
  done
  say "$what"
}

show() { systemctl show -P "$2" "$1"; }
is() { [ "$(show "$1" "$2")" = "$3" ]; }
logged() { journalctl -q -u "$relay" -o cat | grep -qF -- "$1"; }
restarts() { show "$relay" NRestarts; }
more_restarts_than() { [ "$(restarts)" -gt "$1" ] && is "$relay" ActiveState active; }
status() { weir status --json; }

dpkg -i /test/weir.deb
said=$(systemd-analyze verify --man=no $relay weir-source@x.service 2>&1 || true)
[ -z "$said" ] || fail "verify: $said"
[ "$(systemctl is-enabled $relay || true)" = disabled ] || fail 'it is enabled before it is configured'
is $relay ActiveState inactive || fail 'it runs before it is configured'
systemctl start $relay && fail 'it runs without a stream'
systemctl reset-failed $relay
logged 'URI: missing' || fail 'it does not say what is missing'
say 'installed, at rest, and says what it needs'

# A source and a relay on this machine. Times are shorter than on a box, so that hanging and dying take seconds.
cp /test/loop.mp3 /etc/weir/
weir keygen --out /etc/weir/test.key >/etc/weir/test.pub
cat >/etc/weir/test.toml <<'TOML'
role = "source"
input = "/etc/weir/loop.mp3"
repeat = true
name = "Harbour Radio"
bind = "127.0.0.1:7479"
http = "127.0.0.1:7480"
TOML
systemctl start $source
is $source ActiveState active || fail 'a source does not start'
[ "$(stat -c %a /etc/weir/test.key)" = 600 ] || fail 'the key can be read'

for unit in weir-relay.service 'weir-source@.service'; do
  mkdir -p "/etc/systemd/system/$unit.d"
  printf '[Service]\nWatchdogSec=3\nRestartSec=200ms\n' >"/etc/systemd/system/$unit.d/quick.conf"
done
systemctl daemon-reload
printf '\nstreams = ["weir://127.0.0.1:7479/%s"]\nupload-limit = "3Mbit"\n' "$(cat /etc/weir/test.pub)" >>/etc/weir/relay.toml
weir check --config /etc/weir/relay.toml >/dev/null
systemctl enable --now $relay
is $relay ActiveState active || fail 'the relay does not start'
(timeout 15 weir listen "weir://127.0.0.1:8479/$(cat /etc/weir/test.pub)" --bind 127.0.0.1:0 --http 127.0.0.1:0 2>/dev/null || true) | head -c 100000 >/tmp/heard
[ "$(stat -c %s /tmp/heard)" = 100000 ] || fail 'nothing comes through the relay'
until_true "the sentence tells: $(show $relay StatusText)" bash -c "systemctl show -P StatusText $relay | grep -q 'Harbour Radio'"

# As nobody, with nothing.
pid=$(show $relay MainPID)
grep -q '^Uid:\s*0' "/proc/$pid/status" && fail 'it is root'
grep -q '^CapEff:\s*0000000000000000' "/proc/$pid/status" || fail 'it has capabilities'
grep -q '^NoNewPrivs:\s*1' "/proc/$pid/status" || fail 'it may gain privileges'
grep -q '^Seccomp:\s*2' "/proc/$pid/status" || fail 'it may make any system call'
say 'it is nobody, without capabilities'

# Priorities are the journal's, not text.
journalctl -q -u $relay -o json | grep -q '"PRIORITY":"6"' || fail 'lines have no priority'
logged '<6>' && fail 'priorities are text'
systemctl show -P StatusText $relay

# Reload: what can be applied is, in the same process; the rest is named; a broken file changes nothing.
sed -i 's/^upload-limit = .*/upload-limit = "1Mbit"/' /etc/weir/relay.toml
systemctl reload $relay
until_true 'a reload applies the limit' logged 'upload-limit is 1Mbit now'
status | grep -q '"limit_bps":1000000' || fail 'the limit is not applied'
echo 'memory = "9MiB"' >>/etc/weir/relay.toml
systemctl reload $relay
until_true 'a reload names what waits' logged 'memory wait for a restart'
echo 'xyzzy = 1' >>/etc/weir/relay.toml
systemctl reload $relay
until_true 'a broken file changes nothing' logged 'going on as before'
sed -i '/^xyzzy/d; /^memory = /d' /etc/weir/relay.toml
is $relay MainPID "$pid" || fail 'a reload restarted it'
until_true 'it is active again' is $relay ActiveState active

# Its key is written once.
node=$(status | grep -o '"node":"[^"]*"' | head -1)
key=$(sha256sum /var/lib/weir/node.key)

# A hung loop is killed and started again; so is one that dies, however often.
before=$(restarts)
kill -STOP "$pid"
until_true 'the watchdog restarts a hung relay' more_restarts_than "$before"
for round in 1 2 3 4 5 6 7 8; do
  before=$(restarts)
  kill -KILL "$(show $relay MainPID)"
  until_true "killed, and back ($round)" more_restarts_than "$before"
done
until_true 'its page answers' status
[ "$(status | grep -o '"node":"[^"]*"' | head -1)" = "$node" ] || fail 'it has another key'
[ "$(sha256sum /var/lib/weir/node.key)" = "$key" ] || fail 'its key was written again'

# It ends well and at once.
began=$SECONDS
systemctl stop $relay
is $relay Result success || fail 'it does not end well'
[ $((SECONDS - began)) -le 2 ] || fail 'it does not end at once'
systemctl start $relay

# An upgrade keeps the configuration and restarts what runs.
pid=$(show $relay MainPID) origin=$(show $source MainPID)
dpkg -i /test/next.deb </dev/null
grep -q '^streams = ' /etc/weir/relay.toml || fail 'the configuration is not kept'
is $relay ActiveState active || fail 'it does not run after an upgrade'
is $relay MainPID "$pid" && fail 'an upgrade does not restart it'
is $source MainPID "$origin" && fail 'an upgrade does not restart a source'
[ "$(systemctl is-enabled $relay)" = enabled ] || fail 'an upgrade disables it'
say 'upgraded'

dpkg -r weir
is $relay ActiveState active && fail 'it runs after its removal'
is $source ActiveState active && fail 'a source runs after its removal'
[ -e /etc/weir/relay.toml ] || fail 'a removal takes the configuration'
[ -e /var/lib/weir/node.key ] || [ -e /var/lib/private/weir/node.key ] || fail 'a removal takes the key'
dpkg -P weir
[ ! -e /etc/weir/relay.toml ] || fail 'a purge leaves the configuration'
[ -e /etc/weir/test.key ] || fail 'a purge takes what is not its own'
left=$(find / -xdev -path /proc -prune -o -path /test -prune -o -path /etc/systemd/system/weir\* -prune -o -path /etc/weir -prune \
  -o -path /var/log -prune -o -path /tmp -prune -o -name '*weir*' -print)
[ -z "$left" ] || fail "a purge leaves $left"
say 'removed and purged'
echo well >/test/outcome
