#!/bin/sh
# LuCI's pages for weir in headless Chromium, on stand-ins for LuCI's modules; what rpcd would run is run, and asks a real
# relay: run.sh [path to weir]. LUCI_PICTURES=FOLDER keeps pictures. Needs node and chromium, as tests/browser does.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
weir=${1:-$here/../../target/release/weir}
for program in node chromium busybox; do
    command -v "$program" >/dev/null || {
        echo "SKIPPED: $program is not installed, so nobody looks at LuCI's pages"
        [ "${CI:-}" != true ]
        exit
    }
done
exec node "$here/pages.mjs" "$(realpath "$weir")"
