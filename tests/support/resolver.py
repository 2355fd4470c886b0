"""Browses for this device's services with Zeroconf for Python, and prints what it finds.

+ INSTANCE SERVER ADDRESS:PORT KEY=VALUE…
- INSTANCE gone|there
"""

import sys
import zeroconf

TYPES = ["_elec._tcp.local.", "_arduino._tcp.local."]


class Listener:
    def add_service(self, zc, kind, name):
        info = zc.get_service_info(kind, name, timeout=10000)
        if info is None:
            print("?", name, flush=True)
            return
        address = ",".join(sorted(info.parsed_addresses()))
        texts = sorted(f"{k.decode()}={v.decode()}" for k, v in info.properties.items() if k)
        print("+", name, info.server, f"{address}:{info.port}", *texts, flush=True)

    def update_service(self, zc, kind, name):
        pass

    def remove_service(self, zc, kind, name):
        info = zc.get_service_info(kind, name, timeout=1500)
        print("-", name, "gone" if info is None else "there", flush=True)


zc = zeroconf.Zeroconf(interfaces=[sys.argv[1]], ip_version=zeroconf.IPVersion.V4Only)
browser = zeroconf.ServiceBrowser(zc, TYPES, Listener())
print("browsing", flush=True)
sys.stdin.read()
zc.close()
