"""`orlop manifest inspect`: what a registry says of an image, without a pull.

The daemon asks the registry, as it does for everything else; what is printed is docker's form of it.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping
from typing import Any

from orlop import errors
from orlop.cli.command import between, command
from orlop.cli.commands.pull import parsed
from orlop.cli.credentials.stores import auth_header
from orlop.cli.failure import CommandError
from orlop.cli.flags import BOOL, Flag, Options
from orlop.cli.output import indent_json
from orlop.cli.session import Session
from orlop.client import calls
from orlop.formats.template import go_json

__all__ = ["inspect"]

Json = Mapping[str, Any]

_INDEX = "application/vnd.oci.image.index.v1+json"
_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"


@command(
    "[OPTIONS] [MANIFEST_LIST] MANIFEST",
    between(1, 2),
    flags=(
        Flag("insecure", "", BOOL, "Ask the registry without verified TLS"),
        Flag("verbose", "v", BOOL, "Show each manifest of an index, with its platform"),
    ),
)
def inspect(session: Session, options: Options, arguments: list[str]) -> None:
    """Show a manifest or an index as its registry has it."""
    reference = parsed(arguments[-1]).tagged()
    if len(arguments) > 1:  # a list that docker's `manifest create` keeps beside its configuration
        raise CommandError(f"No such manifest: {parsed(arguments[0]).tagged().canonical()}")
    call = calls.manifest_inspect(
        reference.canonical(),
        verbose=options.verbose,
        insecure=options.insecure,
        auth=auth_header(session.config, reference.domain),
    )
    try:
        found = session.engine.do(call)
    except errors.NotFound:
        raise CommandError(f"no such manifest: {reference.canonical()}") from None
    session.print(_verbose_text(found) if options.verbose else _text(found))


def _text(found: Json) -> str:
    document = b64decode(found["Raw"]).decode()
    if not _is_index(found):
        return indent_json(document, "\t")
    return indent_json(go_json(_shown_index(found), escape_html=True), "   ")


def _is_index(found: Json) -> bool:
    return found["Descriptor"]["mediaType"] in (_INDEX, _LIST)


def _shown_index(found: Json) -> dict[str, Any]:
    """Return an index with what docker shows of it: what each manifest is, and for which platform."""
    manifests = [
        {
            "mediaType": entry["mediaType"],
            "size": entry["size"],
            "digest": entry["digest"],
            "platform": {"architecture": "", "os": "", **(entry.get("platform") or {})},
        }
        for entry in found["Manifests"]
    ]
    of_oci = bool(manifests) and manifests[0]["mediaType"] == _MANIFEST
    return {"schemaVersion": 2, "mediaType": _INDEX if of_oci else _LIST, "manifests": manifests}


def _verbose_text(found: Json) -> str:
    if not _is_index(found):
        return indent_json(_entry(found), "\t")
    return indent_json("[" + ",".join(map(_entry, found["Manifests"])) + "]", "\t")


def _entry(found: Json) -> str:
    """Return a manifest with everything that is known of it, as JSON text: its document stays as it is."""
    descriptor = found["Descriptor"]
    document = b64decode(found["Raw"]).decode()
    for char in "&<>":
        document = document.replace(char, f"\\u{ord(char):04x}")
    kind = "OCIManifest" if descriptor["mediaType"] == _MANIFEST else "SchemaV2Manifest"
    head = go_json({"Ref": found["Ref"], "Descriptor": descriptor, "Raw": found["Raw"]}, escape_html=True)
    return f"{head[:-1]},{go_json(kind)}:{document}}}"
