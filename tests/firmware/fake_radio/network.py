"""A `network` whose station joins whatever it is told to; the address is loopback's."""

STA_IF = 0


class WLAN:
    def __init__(self, interface):
        assert interface == STA_IF
        self._status = 0

    def active(self, on):
        assert on

    def config(self, pm):
        assert pm == 0xA11140

    def connect(self, ssid, password):
        assert (ssid, password) == ("home", "secret-word")
        self._status = 3

    def isconnected(self):
        return self._status == 3

    def status(self):
        return self._status

    def ifconfig(self):
        return "127.0.0.1", "255.0.0.0", "", ""
