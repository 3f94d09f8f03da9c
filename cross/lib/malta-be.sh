#!/usr/bin/env bash
# malta-be.sh FOLDER: a kernel for the one kind of machine that Debian has none for, big-endian MIPS, from Debian's
# kernel source and malta-be.config. It takes 8 minutes on two free cores.
set -euo pipefail
. "$(dirname "$0")/common.sh"
folder=$1
config=$here/lib/malta-be.config
[ -e "$folder/vmlinuz" ] && cmp -s "$config" "$folder/config" && exit 0
[ -e /usr/src/linux-source-6.1.tar.xz ] || { echo "malta-be: run cross/setup kernel first" >&2; exit 1; }

source=$tools/linux
rm -rf "$source" && mkdir -p "$source" "$folder"
tar -xf /usr/src/linux-source-6.1.tar.xz -C "$source" --strip-components=1
build() {
  make -C "$source" -s ARCH=mips CROSS_COMPILE=mips-linux-gnu- "$@"
}
build KCONFIG_ALLCONFIG="$config" allnoconfig
build -j"$(nproc)" vmlinux
mips-linux-gnu-strip -o "$folder/vmlinuz" "$source/vmlinux"
cp "$config" "$folder/config"
rm -rf "$source"
