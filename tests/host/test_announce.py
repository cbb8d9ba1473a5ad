"""A node on the network finds the daemon without being told its address."""

import re
import subprocess
import time

from zeroconf import ServiceBrowser, ServiceListener, Zeroconf

from epi_protocol import PROTOCOL_VERSION, events
from fakes.epid_serve import EPID, PATIENCE_S


class Seen(ServiceListener):
    """Collects (port, properties) of the services that show up."""

    def __init__(self):
        self.found = {}

    def add_service(self, zc, kind, name):
        info = zc.get_service_info(kind, name, timeout=3000)
        if info is not None:
            self.found[info.port] = info.decoded_properties

    def update_service(self, zc, kind, name):
        self.add_service(zc, kind, name)

    def remove_service(self, zc, kind, name):
        self.found.clear()


def test_the_daemon_is_announced_with_port_and_protocol_and_withdrawn(tmp_path):
    command = [EPID, "serve", "--listen", "tcp://127.0.0.1:*", "--runs", tmp_path / "runs"]
    daemon = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    port = int(re.search(r"tcp://\S+:(\d+)", daemon.stderr.readline())[1])
    network, seen = Zeroconf(interfaces=["127.0.0.1"]), Seen()
    browser = ServiceBrowser(network, events.SERVICE_TYPE, seen)
    until = time.monotonic() + PATIENCE_S
    while port not in seen.found and time.monotonic() < until:
        time.sleep(0.1)
    properties = seen.found.get(port)
    daemon.terminate()
    daemon.communicate(timeout=PATIENCE_S)
    browser.cancel()
    network.close()
    assert properties == {"protocol": str(PROTOCOL_VERSION)}
    assert daemon.returncode == 0
