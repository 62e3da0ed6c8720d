"""nftables by its own library, ``libnftables.so.1`` (libnftables(3)): each `Nftables.run` is one atomic transaction.

A context belongs to the network namespace of the thread that made it, and to that thread.
"""

from __future__ import annotations

import ctypes
import functools
import json
from typing import Any, Self

__all__ = ["Nftables", "NftablesError"]

LIBRARY = "libnftables.so.1"
NFT_CTX_DEFAULT = 0
NFT_CTX_OUTPUT_JSON = 1 << 4


class NftablesError(OSError):
    """The library is missing, or it refused a command; the text is its own."""


@functools.cache
def _library() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError as error:
        raise NftablesError(f"{LIBRARY} cannot be loaded ({error}); Debian's package is libnftables1") from error
    library.nft_ctx_new.argtypes, library.nft_ctx_new.restype = [ctypes.c_uint32], ctypes.c_void_p
    library.nft_ctx_free.argtypes, library.nft_ctx_free.restype = [ctypes.c_void_p], None
    for name in ("nft_ctx_buffer_output", "nft_ctx_buffer_error"):
        getattr(library, name).argtypes = [ctypes.c_void_p]
    for name in ("nft_ctx_get_output_buffer", "nft_ctx_get_error_buffer"):
        getattr(library, name).argtypes, getattr(library, name).restype = [ctypes.c_void_p], ctypes.c_char_p
    library.nft_ctx_output_set_flags.argtypes = [ctypes.c_void_p, ctypes.c_uint]
    library.nft_ctx_output_set_flags.restype = None
    library.nft_run_cmd_from_buffer.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    return library


class Nftables:
    """An open context."""

    def __init__(self) -> None:
        self._library = _library()
        self._context = self._library.nft_ctx_new(NFT_CTX_DEFAULT)
        if not self._context:
            raise NftablesError("nft_ctx_new failed")
        self._library.nft_ctx_buffer_output(self._context)
        self._library.nft_ctx_buffer_error(self._context)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._context:
            self._library.nft_ctx_free(self._context)
            self._context = None

    def run(self, commands: str) -> str:
        """Carry out `commands` (nft(8)), all or none; return what they print. Raises `NftablesError`."""
        status = self._library.nft_run_cmd_from_buffer(self._context, commands.encode())
        output: bytes = self._library.nft_ctx_get_output_buffer(self._context) or b""
        complaint: bytes = self._library.nft_ctx_get_error_buffer(self._context) or b""
        if status:
            raise NftablesError(f"nftables: {complaint.decode(errors='replace').strip() or 'unknown error'}")
        return output.decode(errors="replace")

    def query(self, what: dict[str, Any]) -> list[dict[str, Any]]:
        """List objects: ``{"chains": None}`` or ``{"chain": {"family": …, "table": …, "name": …}}`` and so on.

        Question and answer are libnftables-json(5), where names need no quoting: ``[{"chain": {…}}, {"rule": {…}}]``.
        """
        self._library.nft_ctx_output_set_flags(self._context, NFT_CTX_OUTPUT_JSON)
        try:
            answer = self.run(json.dumps({"nftables": [{"list": what}]}))
        finally:
            self._library.nft_ctx_output_set_flags(self._context, 0)
        objects: list[dict[str, Any]] = json.loads(answer)["nftables"] if answer.strip() else []
        return objects
