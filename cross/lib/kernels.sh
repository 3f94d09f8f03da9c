#!/usr/bin/env bash
# kernels.sh ARCH META FOLDER: Debian's kernel for another architecture, unpacked into FOLDER (vmlinuz, modules, dtb).
# apt works in a folder of its own here; this machine's apt and dpkg know nothing of the architecture.
set -euo pipefail
. "$(dirname "$0")/common.sh"
arch=$1 meta=$2 folder=$3
[ -e "$folder/vmlinuz" ] && exit 0

apt=$tools/apt/$arch
mkdir -p "$apt/lists/partial" "$apt/archives/partial"
: >"$apt/status"
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian bookworm main" >"$apt/sources.list"
options=(
  -q -o "APT::Architecture=$arch" -o "APT::Architectures=$arch" -o "Acquire::Languages=none"
  -o "Dir::State=$apt" -o "Dir::State::status=$apt/status" -o "Dir::Cache=$apt"
  -o "Dir::Etc::sourcelist=$apt/sources.list" -o "Dir::Etc::sourceparts=-"
  # The user that apt downloads as cannot write into somebody's home.
  -o "APT::Sandbox::User=root"
)
retry apt-get "${options[@]}" update
package=$(apt-cache "${options[@]}" depends "$meta" | sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p' | head -1)
cd "$apt"
retry apt-get "${options[@]}" download "$package"

rm -rf "$folder.new" && mkdir -p "$folder.new"
dpkg-deb -x "$package"_*.deb "$folder.new"
rm -f "$package"_*.deb
mv "$folder.new"/boot/vmlinu[xz]-* "$folder.new/vmlinuz"
rm -rf "$folder" && mv "$folder.new" "$folder"
