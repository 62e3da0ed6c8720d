"""The API loads as little of aiohttp as it needs, and nobody is the worse for it."""

from __future__ import annotations

import subprocess
import sys


def run(program: str) -> str:
    return subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout


def test_the_api_loads_neither_the_client_of_aiohttp_nor_cryptography() -> None:
    loaded = run("import sys, orlop.api.http; print(*sys.modules)").split()
    assert "aiohttp.web_protocol" in loaded
    assert not {"aiohttp.client", "aiohttp.connector", "aiohttp.web", "cryptography", "grpclib"} & set(loaded)


def test_the_rest_of_aiohttp_is_there_when_it_is_asked_for() -> None:
    names = run("import orlop.api.http, aiohttp; print(aiohttp.ClientSession.__name__, aiohttp.__version__)").split()
    assert names[0] == "ClientSession"
    assert names[1].startswith("3.14.")
    assert run("import orlop.api.http; from aiohttp import web, hdrs; print(web.Application.__name__, hdrs.HOST)")
