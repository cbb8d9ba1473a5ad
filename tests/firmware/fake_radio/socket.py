"""Sockets that hold no more unsent bytes than those of a board: lwIP's TCP_SND_BUF on rp2 is 8 segments of 1460 bytes."""

from usocket import *  # noqa: F403
from usocket import socket as _socket

SO_SNDBUF = 7
SND_BUF = 8 * 1460 // 2  # Linux doubles it for its own books


def socket(*arguments):
    made = _socket(*arguments)
    made.setsockopt(SOL_SOCKET, SO_SNDBUF, SND_BUF)  # noqa: F405
    return made
