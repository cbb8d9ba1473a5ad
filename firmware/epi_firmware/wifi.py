"""Wi-Fi: joined, and joined again whenever it is lost. A person hears of every change, once."""

from .registers import const

LOOK_EVERY_MS = const(2000)

_NOTE, _WARNING = const(0), const(1)
_JOINED = const(100)
_TROUBLE = {
    -3: "the password is refused",
    -2: "there is no network of this name",
    -1: "it cannot be joined",
    0: "it is not joined",
}
"""WLAN.status() of the CYW43 on a Pico W, where it says that nothing more will happen by itself."""


class Wifi:
    """Keeps `wlan` (network.WLAN, active) in the network `ssid`. `log(level, text)` takes sentences.

    `look` is meant for a timer: it never waits. `where` is a format for the address at which we are found.
    """

    def __init__(self, wlan, ssid, password, where, log):
        self._wlan = wlan
        self._ssid = ssid
        self._password = password
        self._where = where
        self._log = log
        self._state = 0

    def look(self, _timer=None):
        """Say what has changed, and join where we are not."""
        state = _JOINED if self._wlan.isconnected() else self._wlan.status()
        lost = state in _TROUBLE
        if state != self._state and (lost or state == _JOINED):
            self._state = state
            self._say(state)
        if lost:
            self._wlan.connect(self._ssid, self._password)

    def _say(self, state):
        if state == _JOINED:
            self._log(_NOTE, "Wi-Fi %s: joined; frames are on " % self._ssid + self._where % self._wlan.ifconfig()[0])
        else:
            self._log(_WARNING, "Wi-Fi %s: %s; trying again" % (self._ssid, _TROUBLE[state]))
