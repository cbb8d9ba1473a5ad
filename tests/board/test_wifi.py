"""Wi-Fi on a radio without waves: joined, lost, joined again, and each change said once."""

from expect import equal

from epi_firmware.wifi import Wifi


class Wlan:
    def __init__(self, state=0):
        self.state = state
        self.joins = []

    def isconnected(self):
        return self.state == 3

    def status(self):
        return self.state

    def connect(self, ssid, password):
        self.joins.append((ssid, password))
        self.state = 1

    def ifconfig(self):
        return "192.168.4.20", "255.255.255.0", "192.168.4.1", "192.168.4.1"


def start(state=0):
    wlan, said = Wlan(state), []
    wifi = Wifi(wlan, "home", "secret-word", "tcp://%s:5792", lambda level, text: said.append(text))
    wifi.look()
    return wifi, wlan, said


def looks(wifi, wlan, *states):
    for state in states:
        wlan.state = state
        wifi.look("timer")


def test_joined_and_said_where():
    wifi, wlan, said = start()
    looks(wifi, wlan, 1, 2, 3, 3, 3)
    equal(wlan.joins, [("home", "secret-word")])
    equal(said, ["Wi-Fi home: joined; frames are on tcp://192.168.4.20:5792"])


def test_lost_and_joined_again():
    wifi, wlan, said = start(3)
    looks(wifi, wlan, 0, 1, 1, 3)
    equal(len(wlan.joins), 1)
    equal(said[1:], ["Wi-Fi home: it is not joined; trying again", said[0]])


def test_the_same_trouble_is_said_once_and_never_the_password():
    wifi, wlan, said = start()
    looks(wifi, wlan, -3, 1, -3, 1, -3, -2, -1)
    equal(len(wlan.joins), 6)
    equal(len(said), 3)
    assert "the password is refused" in said[0] and "no network of this name" in said[1] and "cannot be joined" in said[2]
    assert not any("secret-word" in text for text in said)
