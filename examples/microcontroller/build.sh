#!/usr/bin/env bash
# Builds the listener for a Cortex-M4F and reads its size and RAM from the ELF file. `build.sh OUT [KEY]`: where the ELF
# file goes, and the stream it plays. rustup brings `core` for the target; where it cannot, Debian's compiler builds it.
set -euo pipefail
cd "$(dirname "$0")"

out=${1:?where to put the ELF file}
target=thumbv7em-none-eabihf
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/../../target}/microcontroller
[ -z "${2:-}" ] || export WEIR_STREAM=$2

if command -v rustup >/dev/null && timeout 60 rustup target add "$target" >/dev/null 2>&1; then
  cargo build --locked --release
else
  # Debian's compiler comes without the linker that the target names.
  ../../.ci/packages rustc-web cargo-web rust-web-src lld >&2
  env -u RUSTUP_TOOLCHAIN PATH="/usr/bin:$PATH" CARGO=/usr/bin/cargo RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 \
    CARGO_TARGET_THUMBV7EM_NONE_EABIHF_LINKER=ld.lld /usr/bin/cargo build --locked --release -Zbuild-std=core
fi
cp "$CARGO_TARGET_DIR/$target/release/weir-microcontroller" "$out"

python3 - "$out" <<'PYTHON'
import struct, sys

# ELF32, little-endian (System V ABI, chapter 4): section headers give flash and RAM, the symbol table the claim.
elf = open(sys.argv[1], "rb").read()
assert elf[:6] == b"\x7fELF\x01\x01", "not a 32-bit little-endian ELF file"
shoff, = struct.unpack_from("<I", elf, 32)
size, count, names_at = struct.unpack_from("<HHH", elf, 46)
sections = [struct.unpack_from("<10I", elf, shoff + i * size) for i in range(count)]
text = lambda table, at: elf[table[4] + at:elf.index(b"\0", table[4] + at)].decode()
flash = ram = claim = 0
for name, kind, flags, addr, offset, length, link, *_ in sections:
    loaded = flags & 2 and length
    if loaded and kind != 8:
        flash += length
    if loaded and flags & 1:
        ram += length
    if kind == 2:
        for at in range(offset, offset + length, 16):
            symbol, value, _, _, _, home = struct.unpack_from("<IIIBBH", elf, at)
            if text(sections[link], symbol) == "WEIR_RAM_BYTES":
                home = sections[home]
                claim, = struct.unpack_from("<I", elf, home[4] + value - home[3])
print(f"microcontroller: flash {flash} bytes, RAM {ram} bytes static (of which the listener states {claim}), the rest of 128 KiB is stack")
assert flash <= 512 << 10 and claim and claim <= ram <= claim + 4096, "RAM is not what the listener states"
PYTHON
