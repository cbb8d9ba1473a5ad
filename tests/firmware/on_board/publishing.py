"""Runs in a MicroPython: what 2,000 published sweeps allocate, while heartbeats and commands come in. Prints a line of JSON."""

import gc
import json

from bench import Clock
from subscriber import SUB_READY, command, greeting, message

from epi_firmware.publisher import Publisher
from epi_protocol.frame import encode

SWEEPS = 2000
SAMPLE = encode(b"\x02" + b"s" * 213)
PONG = encode(b"\x03" + b"p" * 24)
HELLO = encode(b"\x01" + b"h" * 1200)
COMMANDS = command(b"PING", b"\0\x64ctx") + message(b"\nBBABACADAEPOGNNKAM\n")


class Socket:
    """A client that says `words` whenever it is asked, and takes everything."""

    def __init__(self, words):
        self.words = words
        self.taken = 0
        self.event = ((self, 1),)

    def setblocking(self, blocking):
        pass

    def setsockopt(self, level, option, value):
        pass

    def readinto(self, buf):
        words = self.words
        for i in range(len(words)):
            buf[i] = words[i]
        return len(words)

    def write(self, buf, start, n):
        self.taken += n
        return n


class Network:
    """Listener and poll in one; `event` is what happens next, once."""

    def __init__(self):
        self.event = ()

    def accept(self):
        return self.client, None

    def register(self, socket, events):
        pass

    def ipoll(self, timeout_ms):
        event = self.event
        self.event = ()
        return event


def connect(network, publisher):
    """Return a client that has shaken hands and wants everything."""
    network.client = client = Socket(b"")
    network.event = ((network, 1),)
    publisher.readable(0)
    for words in (greeting(), SUB_READY, message(b"\x01")):
        client.words = words
        network.event = client.event
        publisher.readable(0)
    client.words = COMMANDS
    return client


def run(network, publisher, clients, count):
    """Publish `count` sweeps; every second one brings words of each client."""
    taken = 0
    for number in range(count):
        publisher.write(SAMPLE, 0, len(SAMPLE))
        if number & 1:
            publisher.write(PONG, 0, len(PONG))
            for client in clients:
                network.event = client.event
                while publisher.readable(0):
                    publisher.read_byte()
                    taken += 1
        if number % 20 == 0:
            publisher.write(HELLO, 0, len(HELLO))
    return taken


def main():
    network = Network()
    publisher = Publisher(network, network, Clock())
    clients = [connect(network, publisher) for _ in range(3)]
    run(network, publisher, clients, 50)
    sent = clients[0].taken
    gc.collect()
    gc.disable()
    before = gc.mem_alloc()
    commands = run(network, publisher, clients, SWEEPS)
    after = gc.mem_alloc()
    print(
        json.dumps(
            {
                "allocated": after - before,
                "subscribers": publisher.subscribers(),
                "sent": clients[0].taken - sent,
                "command_bytes": commands,
                "refused": publisher.refused,
            }
        )
    )


main()
