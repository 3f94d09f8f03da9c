#!/usr/bin/env bash
# OpenWrt's files without OpenWrt: the init script in busybox's ash with OpenWrt's own uci and jshn, between stand-ins for procd
# and validate_data; what it makes of /etc/config/weir put before weir itself, and the message it makes before what procd
# takes; shellcheck, the feed's Makefile against the .ipk, and the .ipk's parts. Real procd, opkg and rpcd are not to be had on
# Debian.
set -euo pipefail
cd "$(dirname "$0")/../.."
here=$PWD

.ci/packages busybox shellcheck make jq gcc libc6-dev pkg-config libjson-c-dev

target=${CARGO_TARGET_DIR:-target}
mkdir -p "$target/openwrt-tools"
OPENWRT_TOOLS=$(realpath "$target/openwrt-tools")
export OPENWRT_TOOLS
tests/openwrt/tools.sh "$OPENWRT_TOOLS"
weir=${1:-}
if [ -z "$weir" ]; then
  cargo build --locked
  weir=$target/debug/weir
fi
weir=$(realpath "$weir")
files=$here/boards/openwrt/weir/files
app=$here/boards/openwrt/luci-app-weir

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
passed=0

fail() {
  echo "FAILED: $1" >&2
  [ ! -e "${CALLS:-}" ] || { echo "-- calls" >&2; cat "$CALLS" >&2; }
  [ ! -e "${LOGGED:-}" ] || { echo "-- logged" >&2; cat "$LOGGED" >&2; }
  exit 1
}
good() { passed=$((passed + 1)); echo "  $1"; }

echo "== scripts"
shellcheck -s dash -e SC1008,SC3043 "$files/weir.init"
shellcheck -s dash -e SC1091,SC3043 "$app/root/usr/libexec/rpcd/luci.weir"
busybox ash -n "$files/weir.init"
for json in "$files/weir.capabilities" "$app"/root/usr/share/*/*/*.json; do jq -e . "$json" >/dev/null; done
[ "$(jq -c '[.[]] | unique' "$files/weir.capabilities")" = '[[]]' ] || fail 'there are capabilities'
good 'shellcheck, ash and jq have nothing against them'

# Whether a type is one that ubox knows (validate.c).
known=' or and not neg list min max range minlength maxlength rangelength integer uinteger float ufloat bool string ip4addr
 ip6addr ipaddr cidr4 cidr6 cidr netmask4 netmask6 ipmask4 ipmask6 ipmask port portrange macaddr uciname wpakey wepkey
 hostname host network phonedigit directory device file '
options=$(sed -n "/^OPTIONS='/,/^'/p" "$files/weir.init" | sed '1d;$d;s/^[[:space:]]*//')
for kind in $(printf '%s\n' "$options" | cut -d: -f2 | sed 's/"[^"]*"//g' | grep -oE '[a-z0-9]+' | grep -vE '^[0-9]+$' | sort -u); do
  case "$known" in *[[:space:]]"$kind"[[:space:]]*) ;; *) fail "procd has no type $kind" ;; esac
done
good 'every type is one that procd has'

# Every option is in the file, with a comment, and the other way round; every flag it names is one.
in_script=$(printf '%s\n' "$options" | cut -d: -f1 | sort)
in_file=$(sed -nE "s/^[[:space:]]*#?(option|list) ([a-z_]+) .*/\2/p" "$files/weir.config" | sort -u)
[ "$in_script" = "$in_file" ] || fail "options differ: $(diff <(echo "$in_script") <(echo "$in_file"))"
in_luci=$(sed -nE "s/.*(option|text)\('[a-z]+', (form\.[A-Za-z]+, )?'([a-z_]+)',.*/\3/p" \
  "$app/htdocs/luci-static/resources/view/weir/settings.js" | sort -u)
[ "$in_file" = "$in_luci" ] || fail 'LuCI has other options'
for flag in $(grep -oE '\(--[a-z-]+\)' "$files/weir.config" | tr -d '()'); do
  "$weir" relay --help | grep -q -- "$flag " || fail "$flag is no flag of weir relay"
done
good 'options: the same in the script, the file and LuCI; flags that weir has'

echo "== init script"
# A case: a root of its own, the script with its paths moved there, and stand-ins in front.
setup() {
  ROOT=$scratch/$1 CALLS=$scratch/$1/calls LOGGED=$scratch/$1/logged
  export ROOT CALLS LOGGED
  mkdir -p "$ROOT"/{sbin,bin,etc/config,etc/capabilities,run,delta,usr/bin}
  cp tests/openwrt/validate_data "$ROOT/sbin/"
  cp "$files/weir.config" "$ROOT/etc/config/weir"
  cp "$files/weir.capabilities" "$ROOT/etc/capabilities/weir.json"
  ln -sf "$weir" "$ROOT/usr/bin/weir"
  printf '#!/bin/sh\n' >"$ROOT/sbin/ujail"
  printf '#!/bin/sh\nwhile [ $# -gt 1 ]; do shift; done\nprintf "%%s\\n" "$1" >>"$LOGGED"\n' >"$ROOT/bin/logger"
  # The user weir has number 1234 here; owners are only noted.
  printf '#!/bin/sh\necho 1234\n' >"$ROOT/bin/id"
  for tool in chown chgrp; do printf '#!/bin/sh\necho "%s $*" >>"$CALLS"\n' "$tool" >"$ROOT/bin/$tool"; done
  chmod +x "$ROOT"/bin/* "$ROOT"/sbin/*
  echo '{}' >"$ROOT/ubus"
  : >"$CALLS"
  : >"$LOGGED"
  sed -e "s#/usr/bin/weir#$ROOT/usr/bin/weir#; s#/var/run/weir#$ROOT/run/weir#; s#/usr/sbin/#$ROOT/sbin/#; s#\([ (]\)/sbin/#\1$ROOT/sbin/#g" \
    -e "s#/etc/capabilities#$ROOT/etc/capabilities#; s#:/etc/weir\$#:$ROOT/etc/weir#" "$files/weir.init" >"$ROOT/weir.init"
  sed -i "s#'/etc/weir'#'$ROOT/etc/weir'#" "$ROOT/etc/config/weir"
}
run() {
  # procd.sh is read after the init script, and sets what it takes for granted.
  PATH=$ROOT/bin:$OPENWRT_TOOLS:$PATH busybox ash -c \
    '. tests/openwrt/standins.sh; . "$ROOT/weir.init"; PROCD_RELOAD_DELAY=1000; "$@"' ash "$@"
}
uci() { # uci set OPTION VALUE | uci add OPTION VALUE | uci delete OPTION
  local command=$1 option=$2
  shift 2
  [ "$command" = add ] && command=add_list
  "$OPENWRT_TOOLS/uci" -c "$ROOT/etc/config" -t "$ROOT/delta" -q "$command" "weir.main.$option${1+=$1}" || fail "uci $command $option"
  "$OPENWRT_TOOLS/uci" -c "$ROOT/etc/config" -t "$ROOT/delta" commit weir
}
# said FILTER VALUE: what procd is told.
said() {
  [ "$(jq -c "$1" "$ROOT/message")" = "$2" ] || { jq . "$ROOT/message" >&2; fail "$1 is not $2 but $(jq -c "$1" "$ROOT/message")"; }
}
called() { grep -qxF -- "$1" "$CALLS" || fail "not called: $1"; }
not_called() { ! grep -q -- "$1" "$CALLS" || fail "called: $1"; }
logged() { grep -qF -- "$1" "$LOGGED" || fail "not logged: $1"; }
silent() { [ ! -s "$LOGGED" ] || fail 'it complains'; }
toml() { grep -qxF -- "$1" "$ROOT/run/weir/relay.toml" || { cat "$ROOT/run/weir/relay.toml" >&2; fail "not in relay.toml: $1"; }; }
URI=weir://radio.example.org:8479/aaaqeayeaudaocajbifqydiob4ibceqtcqkrmfyydenbwha5dypq

setup fresh
run start
not_called procd_open_instance
silent
called 'procd_add_reload_trigger weir'
called 'procd_add_reload_interface_trigger wan'
called 'procd_add_reload_interface_trigger wan6'
called 'procd_add_validation validate_relay'
said .instances '{}'
# A redial is several events: they are waited for together.
said '.triggers | map(.[-1]) | unique' '[2000]'
said '.triggers | map([.[0], .[1][1][2]])' '[["config.change","weir"],["interface.*","wan"],["interface.*","wan6"]]'
said '.validate[0].data.log' '"or(error,warn,info,debug,trace)"'
good 'as installed it does nothing, and waits for its settings'

setup no-stream
uci set enabled 1
run start
not_called procd_open_instance
logged '/etc/config/weir: URI: missing'
good 'without a stream it says so'

setup usual
uci set enabled 1
uci add stream "$URI"
run start
silent
called "procd_set_param command $ROOT/usr/bin/weir relay --config $ROOT/run/weir/relay.toml"
called 'procd_set_param env WEIR_LOG_STYLE=procd WEIR_LOG=info'
called 'procd_set_param respawn 3600 5 0'
called 'procd_set_param user weir'
called 'procd_set_param group weir'
called 'procd_set_param no_new_privs 1'
called 'procd_set_param nice 5'
called 'procd_set_param stdout 1'
called 'procd_set_param stderr 1'
called 'procd_add_jail weir procfs sysfs'
called "procd_set_param capabilities $ROOT/etc/capabilities/weir.json"
called "procd_add_jail_mount /etc/hosts /etc/resolv.conf $ROOT/run/weir"
called "procd_add_jail_mount_rw $ROOT/etc/weir"
called 'procd_add_mdns weir udp 8479'
not_called firewall
not_called 'no such'
relay=.instances.relay
said "$relay | [.command[1:3], .user, .group, .nice, .respawn, .stdout, .stderr, .no_new_privs]" \
  '[["relay","--config"],"weir","weir",5,["3600","5","0"],true,true,true]'
said "$relay.jail | del(.mount)" '{"name":"weir","procfs":true,"sysfs":true}'
said "$relay.jail.mount | to_entries | map(.value) | sort" '["0","0","0","1"]'
said "$relay.limits" '{"core":"0","nofile":"2048 2048"}'
said "$relay.data.mdns" '{"weir_8479":{"service":"_weir._udp.local","port":8479}}'
said '[.name, .data]' '["weir",{}]'
toml 'role = "relay"'
! grep -q mdns "$ROOT/run/weir/relay.toml" || fail 'where there is no umdns, weir announces itself'
toml "streams = [\"$URI\"]"
toml 'upload-limit = "2Mbit"'
toml "state = \"$ROOT/etc/weir\""
[ "$(stat -c %a "$ROOT/etc/weir")" = 700 ] || fail 'the state directory is open'
[ "$(stat -c %a "$ROOT/run/weir/relay.toml")" = 640 ] || fail 'the settings are open'
"$weir" check --config "$ROOT/run/weir/relay.toml" >/dev/null
# What can be changed by a signal is not among what procd restarts for.
! grep -q '^upload-limit ' "$ROOT/run/weir/fixed" || fail 'limits cost a restart'
grep -q '^streams = ' "$ROOT/run/weir/fixed" || fail 'another stream costs no restart'
good 'as nobody, in a jail, without capabilities, for ever'

setup everything
uci set enabled on
for option in 'upload_limit 500kbit' 'quota unlimited' 'max_children 3' 'max_players 0' 'memory 6MiB' 'http 192.168.1.1:8481' \
  'advertise 192.0.2.1:9000' 'spare 2' 'burst 3s' 'window 5s' 'log debug' 'nice 0' 'open_firewall 1' 'state none'; do
  # shellcheck disable=SC2086  # A name and a value.
  uci set $option
done
uci add stream "$URI"
uci add bind 0.0.0.0:9001
uci add bind %lo
uci set mdns 0
uci add peer relay.example.net:8479
uci add peer other.example.net:8479
run start
silent
for line in 'upload-limit = "500kbit"' 'quota = "unlimited"' 'max-children = "3"' 'max-players = "0"' 'memory = "6MiB"' \
  'http = "192.168.1.1:8481"' 'advertise = "192.0.2.1:9000"' 'spare = "2"' 'burst = "3s"' 'window = "5s"' \
  'bind = ["0.0.0.0:9001", "%lo"]' 'mdns = "off"' 'peers = ["relay.example.net:8479", "other.example.net:8479"]'; do
  toml "$line"
done
! grep -q '^state' "$ROOT/run/weir/relay.toml" || fail 'none is a directory'
not_called procd_add_jail_mount_rw
said .data.firewall '[{"type":"rule","name":"Allow-weir","src":"wan","proto":"udp","dest_port":"8479 9001","target":"ACCEPT"}]'
called 'procd_set_config_changed firewall'
not_called mdns
: >"$CALLS"
run start
not_called 'procd_set_config_changed'
run stop_service
called 'procd_set_config_changed firewall'
good 'every option arrives; the firewall hears of its one port once'

setup umdns
printf '#!/bin/sh\n' >"$ROOT/sbin/umdns"
chmod +x "$ROOT/sbin/umdns"
uci set enabled 1
uci set http 192.168.1.1:8481
uci add stream "$URI"
run start
silent
toml 'mdns = "ask"'
said '.instances.relay.data.mdns' '{"weir_8479":{"service":"_weir._udp.local","port":8479},"http_8481":{"service":"_http._tcp.local","port":8481,"txt":["path=/"]}}'
good 'where there is umdns, that says what weir would'

setup bare
uci delete http
uci delete log
uci delete interface
uci delete state
uci set enabled 1
uci set stream "$URI"
run start
silent
toml 'http = "127.0.0.1:8480"'
toml "streams = [\"$URI\"]"
toml "state = \"$ROOT/etc/weir\""
said '.triggers | length' 1
good 'what is left out is as the comments say; one stream may be an option'

setup wrong-type
uci set enabled 1
uci set max_children many
uci add stream "$URI"
run start
not_called procd_open_instance
logged 'weir.main.max_children=many validates as range(0,1000) with false'
[ "$(wc -l <"$LOGGED")" = 1 ] || fail 'it complains of what is right'
good 'a value of a wrong type is named'

setup wrong-value
uci set enabled 1
uci set upload_limit 2MB
uci add stream "$URI"
run start
not_called procd_open_instance
logged 'upload-limit'
logged '16Mbit'
good "what weir refuses is logged in weir's words"

setup hostile
uci set enabled 1
# shellcheck disable=SC2016  # Nobody should expand these.
for text in 'a"b' 'a\b' '$(touch '"$ROOT"'/touched)' '`touch '"$ROOT"'/touched`' '"; touch '"$ROOT"'/touched; "' '] x = ["'; do
  uci add peer "$text"
  uci add stream "$URI"
  run start
  uci delete stream
  uci delete peer
done
not_called procd_open_instance
[ ! -e "$ROOT/touched" ] || fail 'a value is run'
[ "$(grep -c 'peers:' "$LOGGED")" = 6 ] || fail 'not each is refused for what it is'
good 'a value is a value, whatever is in it'

setup no-user
printf '#!/bin/sh\nexit 1\n' >"$ROOT/bin/id"
uci set enabled 1
uci add stream "$URI"
run start
not_called procd_open_instance
logged 'no user weir'
good 'never as root for want of a user'

setup reload
uci set enabled 1
uci add stream "$URI"
run start
echo '{ "weir": { "instances": { "relay": { "running": true, "pid": 77 } } } }' >"$ROOT/ubus"
: >"$CALLS"
run reload_service
called 'procd_close_service set'
called 'procd_send_signal weir relay HUP'
: >"$CALLS"
uci set upload_limit lots
run reload_service || true
not_called procd_close_service
not_called procd_send_signal
logged 'goes on as before'
toml 'upload-limit = "2Mbit"'
: >"$CALLS"
uci set upload_limit 3Mbit
uci set enabled 0
run reload_service || true
called 'procd_close_service set'
not_called procd_open_instance
good 'a reload signals what runs, keeps it where the settings are wrong, and stops it where they say so'

setup owners
uci set enabled 1
uci add stream "$URI"
mkdir -p "$ROOT/etc/weir"
run start
called "chown weir:weir $ROOT/etc/weir"
printf '#!/bin/sh\nid -u\n' >"$ROOT/bin/id"
sed -i 's/id -u/echo 0/' "$ROOT/bin/id"
: >"$CALLS"
run start
not_called '^chown'
good 'flash is not written where owners are right'

echo "== packages"
cp "$weir" "$scratch/weir"
out=$scratch/packages
cross/package --ipk-only --binary "$scratch/weir" --out "$out" x86-64 >/dev/null
cross/package --ipk-only --binary "$scratch/weir" --out "$out-again" x86-64 >/dev/null
cmp "$out/SHA256SUMS" "$out-again/SHA256SUMS" || fail 'the same program makes other packages'
(cd "$out" && sha256sum --quiet -c SHA256SUMS)
for ipk in "$out"/weir_*.ipk "$out"/luci-app-weir_*.ipk; do
  parts=$scratch/$(basename "$ipk" .ipk)
  mkdir -p "$parts/control" "$parts/data"
  # With busybox's tar, as opkg's own is as simple.
  busybox tar -xzf "$ipk" -C "$parts"
  [ "$(cat "$parts/debian-binary")" = 2.0 ] || fail 'debian-binary'
  busybox tar -xzf "$parts/control.tar.gz" -C "$parts/control"
  busybox tar -xzf "$parts/data.tar.gz" -C "$parts/data"
  for field in Package Version Architecture Installed-Size Description; do
    grep -q "^$field: ." "$parts/control/control" || fail "no $field"
  done
  for script in postinst prerm; do
    [ -x "$parts/control/$script" ] || fail "no $script"
    shellcheck -s sh -e SC1091 "$parts/control/$script"
  done
  ! busybox tar -tvzf "$parts/data.tar.gz" | grep -qvE '0/0 |root/root ' || fail "not all is root's"
done
data=$(echo "$scratch"/weir_*/data)
grep -q '^Require-User: weir:weir$' "$scratch"/weir_*/control/control || fail 'no user is made'
grep -qx /etc/config/weir "$scratch"/weir_*/control/conffiles || fail 'settings are not kept'
[ -x "$data/etc/init.d/weir" ] || fail 'the script cannot be run'
[ "$(cat "$data/lib/upgrade/keep.d/weir")" = /etc/weir/ ] || fail 'the key is not kept'
good 'the .ipk is what opkg reads'

# Its scripts with a stand-in for functions.sh, called as opkg calls them.
mkdir -p "$scratch/instroot/lib"
# shellcheck disable=SC2016  # That shell expands them.
printf '%s\n' 'default_postinst() { echo "postinst $(basename "${1%.*}") $2"; }' >"$scratch/instroot/lib/functions.sh"
cp "$scratch"/weir_*/control/postinst "$scratch/weir.postinst"
[ "$(IPKG_INSTROOT=$scratch/instroot busybox ash "$scratch/weir.postinst" configure)" = 'postinst weir configure' ] || fail 'postinst'
[ -z "$(IPKG_NO_SCRIPT=1 busybox ash "$scratch/weir.postinst" configure)" ] || fail 'IPKG_NO_SCRIPT'
good 'its scripts call what OpenWrt has'

# The feed's Makefile installs the very files of the .ipk: its install recipe, run by make with stand-ins for buildroot.
buildroot=$scratch/buildroot
mkdir -p "$buildroot"/{include,feeds/packages/lang/rust,package/bin}
cp "$scratch/weir" "$buildroot/package/bin/weir"
cat >"$buildroot/rules.mk" <<MK
INCLUDE_DIR:=$buildroot/include
PKG_INSTALL_DIR:=$buildroot/package
PKG_BUILD_DIR:=$buildroot/build
INSTALL_DIR:=install -d -m0755
INSTALL_BIN:=install -m0755
INSTALL_DATA:=install -m0644
INSTALL_CONF:=install -m0600
CP:=cp -fpR
MK
: >"$buildroot/include/package.mk"
printf 'RUST_ARCH_DEPENDS:=@x\nBuild/Compile/Cargo=cargo $(2)\n' >"$buildroot/feeds/packages/lang/rust/rust-package.mk"
cat >"$buildroot/wrap.mk" <<MK
include $here/boards/openwrt/weir/Makefile
prepare: ; \$(call Build/Prepare)
compile: ; @echo \$(Build/Compile)
version: ; @echo \$(PKG_VERSION)
install: ; \$(call Package/weir/install,$buildroot/root)
MK
feed() { make -s -C "$here/boards/openwrt/weir" -f "$buildroot/wrap.mk" TOPDIR="$buildroot" "$@"; }
feed install
diff -r "$buildroot/root" "$data" || fail 'the Makefile installs something else'
modes() { (cd "$1" && find . -type f -printf '%p %m\n' | sort); }
[ "$(modes "$buildroot/root")" = "$(modes "$data")" ] || fail 'modes differ'
[ "weir $(feed version)" = "$("$weir" --version)" ] || fail 'versions differ'
[ "$(feed compile)" = 'cargo --no-default-features --features std --features serial --features small --bin weir' ] || fail 'features'
feed prepare
(cd "$buildroot/build" && cargo metadata --locked --offline --no-deps --format-version 1 >/dev/null) || fail 'what is copied is no crate'
good 'the feed makes the same package'

printf 'openwrt: %d passed, 0 failed\n' "$passed"
