#!/usr/bin/env bash
# The microcontroller's listener on an emulated Cortex-M4, with the real program at the other end of its UART. Installs what
# it needs on a bare Debian as root.
set -euo pipefail
cd "$(dirname "$0")/../.."

.ci/packages qemu-system-arm
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
key=$(cargo run --locked --quiet -- keygen --out "$work/stream.key")
examples/microcontroller/build.sh "$work/listener.elf" "$key"
WEIR_BOARD_ELF=$work/listener.elf WEIR_BOARD_KEY=$work/stream.key \
  cargo test --locked --test serial -- --nocapture an_emulated_cortex_m4
