"""A shell in the file system that was kept of a step."""

from __future__ import annotations

import sys

from orlop.cli.joined import Joined
from orlop.cli.session import Session
from orlop.cli.signals import SignalRelay
from orlop.cli.terminal import is_terminal, terminal_size
from orlop.client import calls

__all__ = ["KEPT_HELP", "open_shell", "visit"]

KEPT_HELP = "It is kept for a day: orlop builder shell {id} opens a shell in it, orlop builder dismiss {id} removes it."
_SHOWN = 12


def visit(session: Session, kept: str, what: str) -> None:
    """Open a shell in what was kept of a step (`what` says which), and remove it when the shell has ended."""
    session.warn(f"\nA shell in the file system {what}. What is changed in it goes into no image.")
    if is_terminal(0):
        session.warn("It is removed when the shell ends; Ctrl-P Ctrl-Q leaves and keeps it.")
    if open_shell(session, kept):
        session.warn(f"\n{KEPT_HELP.format(id=kept[:_SHOWN])}")
    else:
        session.engine.do(calls.build_dismiss(kept))


def open_shell(session: Session, kept: str) -> bool:
    """Join this terminal with a shell until that ends; say whether the user left it before."""
    engine = session.engine
    tty = is_terminal(0) and is_terminal(1)
    height, width = terminal_size(1) if tty else (0, 0)

    def resize() -> None:
        height, width = terminal_size(1)
        if height or width:
            engine.do(calls.build_shell_resize(kept, height=height, width=width))

    sys.stderr.flush()
    with SignalRelay(everything=False) as relay:
        joined = Joined(
            session.connect().hijack(calls.build_shell(kept, tty=tty, height=height, width=width)),
            relay,
            tty=tty,
            stdin=True,
            output=True,
            detach_keys=session.config.text("detachKeys"),
            resize=resize if tty else None,
        )
        joined.run()
    return joined.detached
