"""One connection of the server: uvicorn's, and an end to callers who never say what they want.

uvicorn bounds neither how long the head of a request may take nor how large it may be: a few
hundred callers that send a byte a minute would hold every connection.
"""

import asyncio
from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_SECONDS_MAX: Final = 20.0
HEAD_BYTES_MAX: Final = 16 * 1024
"""Before the last piece that the kernel gave."""


class BoundedProtocol(HttpToolsProtocol):
    """Closes a connection whose next request's head does not come whole, in time and size."""

    head_seconds_max: float = HEAD_SECONDS_MAX
    _head_bytes: int = 0
    """Bytes since the last head or body that was whole."""
    _head_timer: asyncio.TimerHandle | None = None

    @classmethod
    def within(cls, head_seconds_max: float) -> "type[BoundedProtocol]":
        """Return this protocol with another time limit."""
        return type("BoundedProtocol", (cls,), {"head_seconds_max": head_seconds_max})

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn's own
        """Begin to wait for a head."""
        super().connection_made(transport)
        self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        """Take bytes, unless a head has become too large."""
        if self._is_idle() and self._head_bytes > HEAD_BYTES_MAX:
            self.transport.close()
            return
        self._head_bytes += len(data)
        super().data_received(data)

    def on_headers_complete(self) -> None:
        """End the waiting."""
        self._stop_waiting()
        self._head_bytes = 0
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Count anew for the next head."""
        self._head_bytes = 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Begin to wait for the next head."""
        super().on_response_complete()
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _wait_for_head(self) -> None:
        self._stop_waiting()
        self._head_timer = self.loop.call_later(self.head_seconds_max, self._end_late_head)

    def _stop_waiting(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _end_late_head(self) -> None:
        # A request that was sent ahead has its head already.
        if self._is_idle() and not self.transport.is_closing():
            self.transport.close()
