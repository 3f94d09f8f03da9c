#!/usr/bin/env bash
# The .deb in a real systemd: a Debian made by debootstrap, booted by systemd-nspawn without a network, installs it, runs a
# source and a relay, reloads, hangs, kills, upgrades, removes and purges them (inside.sh). Before that: lintian, and what
# systemd-analyze says of the units. The Debian is kept in target/systemd; after that a run takes about a minute.
#
#   tests/systemd/run.sh [DEB]     DEB: a package to look at instead of one made of this tree
set -euo pipefail
cd "$(dirname "$0")/../.."

[ "$(id -u)" = 0 ] || { echo "systemd: this needs root, for containers" >&2; exit 1; }
target=${CARGO_TARGET_DIR:-target}
cache=$target/systemd
base=$cache/base
mkdir -p "$cache"

.ci/packages systemd-container debootstrap lintian mandoc man-db

if [ $# -gt 0 ]; then
  deb=$1
else
  cargo build --locked --release
  cross/package --binary "$target/release/weir" --out "$cache/packages" x86-64
  deb=$(ls "$cache"/packages/weir_*_amd64.deb)
fi

echo "== lintian"
# A native build is not static, so its override is not used; that is no news (I: would be unused-override).
lintian --allow-root --fail-on error,warning --tag-display-limit 0 "$deb"

echo "== units"
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
dpkg-deb -x "$deb" "$root"
for unit in weir-relay.service weir-source@.service; do
  # "OVERALL EXPOSURE LEVEL": at most 1.1, which --threshold counts in tenths.
  systemd-analyze security --offline=yes --threshold=11 "$root/usr/lib/systemd/system/$unit" | tail -1
done
gzip -dc "$root"/usr/share/man/man5/weir.toml.5.gz | mandoc -T lint -W error
gzip -dc "$root"/usr/share/man/man1/weir.1.gz | mandoc -T lint -W warning

echo "== container"
if [ ! -e "$base/.complete" ]; then
  rm -rf "$base"
  debootstrap --variant=minbase --include=systemd,systemd-sysv bookworm "$base" >"$cache/debootstrap.log" ||
    { tail "$cache/debootstrap.log" >&2; exit 1; }
  touch "$base/.complete"
fi

# The next version of the same package, for an upgrade.
next=$(mktemp -d)
trap 'rm -rf "$root" "$next"' EXIT
dpkg-deb -R "$deb" "$next/tree"
sed -i 's/^Version: .*/&+next/' "$next/tree/DEBIAN/control"
dpkg-deb --root-owner-group -b "$next/tree" "$next/next.deb" >/dev/null
cp "$deb" "$next/weir.deb"
cp assets/loop.mp3 tests/systemd/inside.sh "$next/"

# The container's unit: when it is done, however, the container ends.
cat >"$next/test.service" <<'UNIT'
[Unit]
After=basic.target
[Service]
Type=oneshot
ExecStart=/bin/bash /test/inside.sh
ExecStopPost=/bin/systemctl --no-block poweroff
UNIT

# On a host that was not booted by systemd, /run need not be a tmpfs, and control groups may be of both kinds.
# shellcheck disable=SC2016  # The shell inside expands "$@".
SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 timeout -k 10 200 unshare --mount sh -c 'mount -t tmpfs tmpfs /run && exec "$@"' -- \
  systemd-nspawn --quiet --directory="$base" --volatile=overlay \
  --private-network --register=no --keep-unit --bind="$next:/test" \
  --bind-ro="$next/test.service:/etc/systemd/system/test.service" \
  --console=pipe --boot systemd.unit=multi-user.target systemd.wants=test.service \
  >"$cache/console.log" 2>&1 </dev/null || true
if [ "$(cat "$next/outcome" 2>/dev/null)" != well ]; then
  tail -60 "$cache/console.log" >&2
  cat "$next/log" >&2 2>/dev/null || true
  echo "systemd: FAILED; all of it is in $cache/console.log" >&2
  exit 1
fi
cat "$next/log"
echo "systemd: all well"
