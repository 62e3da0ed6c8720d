"""What PATH | URL | - of `orlop build` is: a directory, something that the daemon fetches, or standard input."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import BinaryIO

from orlop import errors
from orlop.cli.build.dockerfile import STDIN, Dockerfile, find_dockerfile, stdin_dockerfile
from orlop.cli.failure import CommandError
from orlop.formats.tar import header
from orlop.formats.tar.entry import TarError

__all__ = ["Source", "find_source", "is_archive", "is_remote", "rest_of"]

_MAGIC = (b"\x1f\x8b\x08", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd")  # gzip, bzip2, xz, zstd
_BLOCK = 1 << 20


class Source:
    """Where everything comes from. Exactly one of `directory` (its real path), `remote` and `archive` (the beginning
    of a tar on standard input) is set, or none where there is but a Dockerfile. Without `dockerfile` it lies in the
    context, under `name` if that is not empty.
    """

    __slots__ = ("archive", "directory", "dockerfile", "name", "remote")

    def __init__(
        self,
        *,
        directory: str = "",
        remote: str = "",
        archive: bytes = b"",
        dockerfile: Dockerfile | None = None,
        name: str = "",
    ) -> None:
        self.directory = directory
        self.remote = remote
        self.archive = archive
        self.dockerfile = dockerfile
        self.name = name

    @property
    def origin(self) -> str:
        """What tells builds from this source from others."""
        return self.directory or self.remote


def find_source(argument: str, file: str) -> Source:
    """Return the source that the command line names; `file` is the value of ``--file``.

    Raises `CommandError` with docker's texts.
    """
    if argument == STDIN:
        if file == STDIN:
            raise CommandError("invalid argument: can't use stdin for both build context and dockerfile")
        return _standard_input(file)
    if os.path.isdir(argument):
        directory = os.path.realpath(argument)
        dockerfile = stdin_dockerfile() if file == STDIN else find_dockerfile(directory, file)
        return Source(directory=directory, dockerfile=dockerfile, name=dockerfile.name)
    if is_remote(argument):
        if file == STDIN:
            return Source(remote=argument, dockerfile=stdin_dockerfile())
        return Source(remote=argument, name=file)
    if os.path.lexists(argument):
        path = os.path.normpath(os.path.join(os.getcwd(), argument))
        raise CommandError(f"unable to prepare context: context must be a directory: {path}")
    raise CommandError(f'unable to prepare context: path "{argument}" not found')


def is_remote(text: str) -> bool:
    """Say whether the daemon can fetch what `text` names: a repository, a tar or a Dockerfile."""
    from orlop.formats import git_reference

    try:
        return text.startswith(("http://", "https://")) or git_reference.parse(text, context=True) is not None
    except errors.InvalidArgument as error:
        raise CommandError(f"unable to prepare context: {error.message}") from None


def _standard_input(file: str) -> Source:
    begin = sys.stdin.buffer.read(header.BLOCK)
    if is_archive(begin):
        return Source(archive=begin, name=file)
    if file:
        raise CommandError("ambiguous Dockerfile source: both stdin and flag correspond to Dockerfiles")
    return Source(dockerfile=stdin_dockerfile(begin))


def is_archive(begin: bytes) -> bool:
    """Say whether something that begins so is a tar, or compressed."""
    if begin.startswith(_MAGIC):
        return True
    if len(begin) < header.BLOCK:
        return False
    try:
        header.decode(begin[: header.BLOCK])
    except TarError:
        return False
    return True


def rest_of(begin: bytes, stream: BinaryIO) -> Iterator[bytes]:
    """Yield a stream whose beginning was read already."""
    yield begin
    while data := stream.read(_BLOCK):
        yield data
