"""Looks for weir nodes as any program on the LAN would, with python-zeroconf: look.py OWN_ADDRESS HOW_MANY."""

import sys
import time

from zeroconf import ServiceBrowser, Zeroconf

address, wanted = sys.argv[1], int(sys.argv[2])
TYPES = ["_weir._udp.local.", "_http._tcp.local."]


class Seen:
    def __init__(self):
        self.names = {kind: set() for kind in TYPES}

    def add_service(self, _, kind, name):
        self.names[kind].add(name)

    def remove_service(self, _, kind, name):
        self.names[kind].discard(name)

    def update_service(self, *_):
        pass


zeroconf = Zeroconf(interfaces=[address])
seen = Seen()
browser = ServiceBrowser(zeroconf, TYPES, seen)
deadline = time.monotonic() + 30
while any(len(names) != wanted for names in seen.names.values()):
    if time.monotonic() > deadline:
        sys.exit(f"FAILED: wanted {wanted} of each, saw {seen.names}")
    time.sleep(0.1)
for kind, names in seen.names.items():
    for name in names:
        info = zeroconf.get_service_info(kind, name, timeout=10_000)
        assert info, name
        print(name, info.parsed_addresses(), info.port, info.properties)
        at, v6 = sorted(info.parsed_addresses())
        assert at.startswith("10.77.0.") and v6 == "fd77::" + at[-1], (at, v6)
        assert info.port % 1_000 == (479 if "_weir" in kind else 480), info.port
        if "_weir" in kind:
            assert len(info.properties[b"stream"]) == 16, info.properties
        else:
            assert info.properties[b"path"] == b"/", info.properties
zeroconf.close()
