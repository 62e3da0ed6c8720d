"""The event loop of the launcher and of a shim: epoll, timers, signals; one thread, no coroutines."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable

__all__ = ["HANGUP", "READ", "WRITE", "Loop", "Timer"]

READ = select.EPOLLIN
WRITE = select.EPOLLOUT
HANGUP = select.EPOLLHUP | select.EPOLLERR

Handler = Callable[[int], None]


class Timer:
    """A call that is due at `deadline` (seconds of the monotonic clock) unless it is cancelled."""

    __slots__ = ("callback", "deadline")

    def __init__(self, deadline: float, callback: Callable[[], None]) -> None:
        self.deadline = deadline
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """Don't call."""
        self.callback = None


class Loop:
    """Calls ``handler(events)`` of a descriptor when it is ready, level-triggered, until `stop`.

    A handler may add and remove descriptors, its own too. Events of a descriptor that was removed, or closed and
    taken by another, in the same round are dropped.
    """

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._handlers: dict[int, Handler] = {}
        self._timers: list[Timer] = []
        self._running = False
        self._wakeup: tuple[int, int] | None = None

    def add(self, fd: int, events: int, handler: Handler) -> None:
        """Watch `fd`. Raises `PermissionError` for a file that cannot be waited for."""
        self._epoll.register(fd, events)
        self._handlers[fd] = handler

    def modify(self, fd: int, events: int) -> None:
        """Watch `fd` for other events; errors and hang-ups are always told."""
        self._epoll.modify(fd, events)

    def remove(self, fd: int) -> None:
        """Stop watching `fd`, before it is closed; nothing happens if it is not watched."""
        if self._handlers.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def watches(self, fd: int) -> bool:
        """Say whether `fd` is watched."""
        return fd in self._handlers

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Call `callback` once, in `seconds` from now."""
        timer = Timer(time.monotonic() + seconds, callback)
        self._timers.append(timer)
        return timer

    def on_signal(self, number: int, callback: Callable[[], None]) -> None:
        """Call `callback` after signal `number` arrived (once for several). One signal per loop."""
        reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._wakeup = reader, writer
        signal.signal(number, lambda *_: None)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (number,))

        def arrived(_: int) -> None:
            os.read(reader, 4096)
            callback()

        self.add(reader, READ, arrived)

    def stop(self) -> None:
        """Return from `run` when the present handler is done."""
        self._running = False

    def run(self) -> None:
        """Serve until `stop`."""
        self._running = True
        while self._running:
            ready = self._epoll.poll(self._timeout())
            handlers = [(fd, events, self._handlers.get(fd)) for fd, events in ready]
            for fd, events, handler in handlers:
                if self._running and handler is not None and self._handlers.get(fd) is handler:
                    handler(events)
            self._call_due()

    def close(self) -> None:
        """Give back the descriptors of the loop itself."""
        self._epoll.close()
        if self._wakeup is not None:
            signal.set_wakeup_fd(-1)
            os.close(self._wakeup[0])
            os.close(self._wakeup[1])
            self._wakeup = None

    def _timeout(self) -> float | None:
        self._timers = [timer for timer in self._timers if timer.callback is not None]
        if not self._timers:
            return None
        return max(0.0, min(timer.deadline for timer in self._timers) - time.monotonic())

    def _call_due(self) -> None:
        if not self._timers:
            return
        now = time.monotonic()
        for timer in self._timers[:]:
            callback = timer.callback
            if self._running and callback is not None and timer.deadline <= now:
                timer.cancel()
                callback()
