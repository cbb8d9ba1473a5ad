"""Says on the local network where the daemon listens, so that a node needs no address."""

from __future__ import annotations

import platform
from collections.abc import Callable
from urllib.parse import urlsplit

from zeroconf import Error, IPVersion
from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

from epi_protocol import PROTOCOL_VERSION, events


class Announcement:
    """The daemon's zeroconf service for one endpoint (`tcp://address:port`)."""

    def __init__(self, endpoint: str) -> None:
        parts = urlsplit(endpoint)
        self._address = parts.hostname or "127.0.0.1"
        self._port = parts.port or events.DEFAULT_PORT
        self._zeroconf: AsyncZeroconf | None = None

    async def register(self, say: Callable[[str], None]) -> None:
        """Announce; a network without multicast is said once and does no harm."""
        interfaces = ["127.0.0.1"] if self._address.startswith("127.") else [self._address]
        everywhere = self._address in ("0.0.0.0", "::")
        info = AsyncServiceInfo(
            events.SERVICE_TYPE,
            f"epid-{platform.node()}-{self._port}.{events.SERVICE_TYPE}",
            port=self._port,
            parsed_addresses=None if everywhere else [self._address],
            properties={"protocol": str(PROTOCOL_VERSION)},
            server=f"{platform.node()}.local.",
        )
        try:
            if everywhere:
                self._zeroconf = AsyncZeroconf(ip_version=IPVersion.V4Only)
            else:
                self._zeroconf = AsyncZeroconf(interfaces=interfaces, ip_version=IPVersion.V4Only)
            await self._zeroconf.async_register_service(info, allow_name_change=True)
        except (OSError, Error, TimeoutError) as error:
            say(f"not announced on the network ({error or type(error).__name__}); nodes need --daemon with the address")

    async def close(self) -> None:
        """Withdraw the announcement."""
        if self._zeroconf is not None:
            await self._zeroconf.async_unregister_all_services()
            await self._zeroconf.async_close()
