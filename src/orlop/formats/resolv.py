"""A container's ``/etc/resolv.conf`` (resolv.conf(5)): the host's, mended, or what the client chose.

A resolver on the host's loopback cannot be reached from a container, so it is left out; when none is left, public ones
take its place, as Docker does. Every field is checked to be one word: no line can be injected.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from ipaddress import ip_address

__all__ = ["PUBLIC", "PUBLIC6", "ResolvConf", "generate", "parse"]

PUBLIC = ("8.8.8.8", "8.8.4.4")
PUBLIC6 = ("2001:4860:4860::8888", "2001:4860:4860::8844")


@dataclass(frozen=True, slots=True)
class ResolvConf:
    """The content of a file; `other` are lines that are none of the three directives, kept as they are."""

    nameservers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    other: tuple[str, ...] = ()

    def render(self) -> str:
        lines = [f"nameserver {address}" for address in self.nameservers]
        if self.search:
            lines.append("search " + " ".join(self.search))
        if self.options:
            lines.append("options " + " ".join(self.options))
        return "".join(line + "\n" for line in [*lines, *self.other])


def parse(text: str) -> ResolvConf:
    """Read a host's file as a resolver does: comments and malformed name servers are passed over."""
    conf = ResolvConf()
    for line in text.split("\n"):
        words = line.split()
        if not words or words[0][0] in "#;":
            continue
        directive, values = words[0], tuple(words[1:])
        if directive == "nameserver":
            if values and _is_address(values[0]):
                conf = replace(conf, nameservers=(*conf.nameservers, values[0]))
        elif directive in ("search", "domain"):  # the last one counts; `domain` is its old name
            conf = replace(conf, search=values) if values else conf
        elif directive == "options":
            conf = replace(conf, options=conf.options + values)
        else:
            conf = replace(conf, other=(*conf.other, " ".join(words)))
    return conf


def generate(
    base: ResolvConf,
    *,
    nameservers: Iterable[str] = (),
    search: Iterable[str] = (),
    options: Iterable[str] = (),
    ipv6: bool = False,
    keep_loopback: bool = False,
) -> str:
    """Return the file of a container: what the client chose, else what the host's file (`base`) says.

    ``search`` of ``.`` means no search list. `keep_loopback` is for containers in the host's network, which use the
    host's file as it is; for all others, resolvers on loopback are left out, IPv6 ones too unless `ipv6`. Raises
    ValueError for a value that is not one word, or a name server that is no address.
    """
    chosen = ResolvConf(tuple(nameservers), tuple(search), tuple(options))
    for address in chosen.nameservers:
        if not _is_address(address):
            raise ValueError(f"bad nameserver address {address!r}")
    for domain in chosen.search:
        if not _is_word(domain):
            raise ValueError(f"invalid search domain {domain!r}")
    for option in chosen.options:
        if not _is_word(option):
            raise ValueError(f"invalid resolver option {option!r}")
    inherited = base.nameservers if keep_loopback else _reachable(base.nameservers, ipv6)
    return ResolvConf(
        chosen.nameservers or inherited,
        tuple(domain for domain in chosen.search if domain != ".") if chosen.search else base.search,
        chosen.options or base.options,
        base.other,
    ).render()


def _reachable(nameservers: tuple[str, ...], ipv6: bool) -> tuple[str, ...]:
    parsed = [(text, ip_address(text)) for text in nameservers]
    left = tuple(text for text, address in parsed if not address.is_loopback and (address.version == 4 or ipv6))
    return left or PUBLIC + (PUBLIC6 if ipv6 else ())


def _is_word(value: str) -> bool:
    return bool(value) and value.isprintable() and " " not in value


def _is_address(value: str) -> bool:
    if not _is_word(value):
        return False
    try:
        ip_address(value)
    except ValueError:
        return False
    return True
