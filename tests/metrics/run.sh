#!/bin/sh
# The metrics, the alert rules and the dashboard, as Prometheus sees them: run.sh [path to weir]. Needs promtool (Debian's
# prometheus), curl and python3; without one of them it says so and passes, except in continuous integration (CI=true).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
docs=$here/../../docs/monitoring
weir=${1:-$here/../../target/release/weir}
for program in promtool curl python3; do
    command -v "$program" >/dev/null || {
        echo "SKIPPED: $program is not installed, so nobody checks the metrics"
        [ "${CI:-}" != true ]
        exit
    }
done
work=$(mktemp -d)
pids=
end() {
    for pid in $pids; do kill "$pid" 2>/dev/null || :; done
    rm -rf "$work"
}
trap end EXIT
"$weir" keygen --out "$work/key" >/dev/null
(while head -c 4000 /dev/urandom; do sleep 0.1; done) | "$weir" source --key "$work/key" --input - --bitrate 320kbit \
    --name 'A "title" with \ and {braces}' --bind 127.0.0.1:0 --http 127.0.0.1:0 >"$work/uri" 2>"$work/log" &
pids=$!
left=100
until at=$(grep -o 'http://[^/]*' "$work/log") && [ -s "$work/uri" ]; do
    left=$((left - 1))
    [ $left -gt 0 ] || { cat "$work/log"; exit 1; }
    sleep 0.1
done
curl -sf "$at/metrics" >"$work/metrics"
promtool check metrics <"$work/metrics"
echo "ok    $(grep -c '^# TYPE' "$work/metrics") families please promtool"
promtool check rules "$docs/alerts.yml"
promtool check config --syntax-only "$docs/prometheus.yml"
# Every metric that the rules and the dashboard name is there.
python3 - "$work/metrics" "$docs" <<'END'
import json, re, sys
served = set(re.findall(r"^# TYPE (\S+)", open(sys.argv[1]).read(), re.M))
text = open(sys.argv[2] + "/alerts.yml").read()
dashboard = json.load(open(sys.argv[2] + "/grafana.json"))
text += " ".join(target["expr"] for panel in dashboard["panels"] for target in panel["targets"])
named = set(re.findall(r"\bweir_[a-z_]+", text))
missing = named - served
assert not missing, f"not served: {sorted(missing)}"
print(f"ok    {len(named)} metrics named in rules and dashboard are served")
END
