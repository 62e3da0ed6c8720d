"""The parts of aiohttp that the API stands on, loaded without the rest of it.

aiohttp's package loads its client, its test tools and more at the first import of anything: three times the time and
twice the memory of the server alone, at every start of the daemon. So the package is entered into `sys.modules` as a
shell with the right path, and its submodules are imported one by one. Whoever asks the shell for a name of the whole
(``aiohttp.ClientSession``) makes it load then. Everybody else in the API imports aiohttp from here.
"""

from __future__ import annotations

import re
import sys
from importlib import util
from pathlib import Path
from typing import Any

__all__ = ["BaseRequest", "RequestHandler", "Response", "Server", "StreamResponse"]

_VERSION = re.compile(r'^__version__ = "([^"]+)"', re.MULTILINE)


def _enter_shell() -> None:
    if "aiohttp" in sys.modules:
        return
    spec = util.find_spec("aiohttp")
    if spec is None or spec.origin is None or spec.loader is None:
        return  # the imports below say what is missing
    version = _VERSION.search(Path(spec.origin).read_text(encoding="utf-8"))
    if version is None:
        return  # an aiohttp that looks otherwise is loaded as a whole
    shell = util.module_from_spec(spec)
    loader = spec.loader

    def load(name: str) -> Any:
        if name.startswith("__") or util.find_spec(f"aiohttp.{name}") is not None:
            raise AttributeError(f"module 'aiohttp' has no attribute '{name}'")  # a submodule: the importer's work
        del vars(shell)["__getattr__"]
        loader.exec_module(shell)
        return getattr(shell, name)

    vars(shell).update(__version__=version[1], __getattr__=load)
    sys.modules["aiohttp"] = shell


_enter_shell()

from aiohttp.web_protocol import RequestHandler  # noqa: E402
from aiohttp.web_request import BaseRequest  # noqa: E402
from aiohttp.web_response import Response, StreamResponse  # noqa: E402
from aiohttp.web_server import Server  # noqa: E402
