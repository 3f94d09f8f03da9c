# Read by the scripts of cross/: where things are, and the environment in which boards are built.
# shellcheck shell=bash disable=SC2034

# From PyPI. Not zig 0.16 or later: their calloc writes all it gives, and a ring that was never used would be resident.
ZIG_VERSION=0.15.2
ZIGBUILD_VERSION=0.24.0

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
root=$(dirname "$here")
tools=${WEIR_CROSS_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/weir-cross}
target_dir=${CARGO_TARGET_DIR:-$root/target}
# One file a target, weir-TARGET, with SHA256SUMS and sizes.tsv.
out=$target_dir/cross/out

# Mirrors fail now and then; three tries, further apart each time.
retry() {
  local try
  for try in 1 2 3; do
    if "$@"; then return 0; fi
    [ "$try" = 3 ] || sleep $((try * 5))
  done
  echo "failed three times: $*" >&2
  return 1
}

# A property of a board, as in its file: board ath79 target.
board() {
  python3 "$here/lib/boards.py" "$@"
}

# Debian's compiler before rustup's, for the rest of the script; RUSTC_BOOTSTRAP lets it build the standard library.
debian_rust() {
  export PATH="$tools/venv/bin:/usr/bin:$PATH" CARGO=/usr/bin/cargo RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1
  unset RUSTUP_TOOLCHAIN RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_RUSTFLAGS CARGO_BUILD_TARGET
}
