"""An API on a unix socket whose engine is what a test makes of it."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from orlop.api.http import Api
from support.wire import Calls, Fake, Wire


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    """Replace a function of the engine by one that notes its arguments and returns, or raises, `result`."""

    def replace(module: ModuleType, name: str, result: Any = None) -> Calls:
        calls = Calls()

        async def stand_in(engine: Any, *arguments: Any, **named: Any) -> Any:
            calls.seen.append({**{str(index): value for index, value in enumerate(arguments)}, **named})
            if isinstance(result, Exception):
                raise result
            return await result(*arguments, **named) if callable(result) else result

        monkeypatch.setattr(module, name, stand_in)
        return calls

    return replace


@pytest.fixture
def engine() -> SimpleNamespace:
    return SimpleNamespace(facts=SimpleNamespace(cgroup_version=2), instance="0a1b2c")


@pytest.fixture
async def served(engine: SimpleNamespace, tmp_path: Path) -> AsyncIterator[Path]:
    """The path of a socket that the API serves."""
    path = tmp_path / "api.sock"
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(path))
    api = Api(engine)  # type: ignore[arg-type]
    await api.listen(sock)
    yield path
    await api.close(patience=0.5)


@pytest.fixture
async def wire(served: Path) -> AsyncIterator[Wire]:
    connection = await Wire.open(served)
    yield connection
    await connection.close()
