#!/usr/bin/env bash
# OpenWrt's own uci, jshn, jshn.sh and uci.sh, made from the sources that the crate libuci-sys brings (LGPL-2.1 and ISC; they
# are not part of weir): tools.sh FOLDER. Needs cargo, cc and json-c's headers.
set -euo pipefail
out=$(realpath "$1")
[ ! -x "$out/jshn" ] || exit 0

mkdir -p "$out/fetch/src"
printf '[package]\nname = "fetch"\nversion = "0.0.0"\nedition = "2024"\n[dependencies]\nlibuci-sys = "=1.0.5"\n[workspace]\n' \
  >"$out/fetch/Cargo.toml"
: >"$out/fetch/src/lib.rs"
crate=$(cargo metadata --quiet --format-version 1 --manifest-path "$out/fetch/Cargo.toml" |
  jq -r '.packages[] | select(.name == "libuci-sys") | .manifest_path | rtrimstr("/Cargo.toml")')

: >"$out/uci_config.h"
ln -sfn "$crate/libubox" "$out/libubox"
ubox() { for name in "$@"; do printf '%s ' "$crate/libubox/$name.c"; done; }
uci() { for name in "$@"; do printf '%s ' "$crate/uci/$name.c"; done; }
# shellcheck disable=SC2046  # Lists of files.
{
  cc -O1 -w -D_GNU_SOURCE -I"$out" -I"$crate/uci" -o "$out/uci" \
    $(uci cli libuci file util delta parse blob) $(ubox avl avl-cmp blob blobmsg utils vlist)
  cc -O1 -w -D_GNU_SOURCE -DJSONC -I"$out" -I"$crate" $(pkg-config --cflags --libs json-c) -o "$out/jshn.new" \
    $(ubox jshn blobmsg_json avl avl-cmp blob blobmsg utils) $(pkg-config --libs json-c)
}
cp "$crate/libubox/sh/jshn.sh" "$crate/uci/sh/uci.sh" "$out/"
mv "$out/jshn.new" "$out/jshn"
