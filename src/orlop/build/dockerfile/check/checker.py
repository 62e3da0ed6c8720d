"""All checks of a Dockerfile, but those that its ``# check=skip=…`` leaves out."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from orlop.build.dockerfile.check.rules import RULES, Rule
from orlop.build.dockerfile.check.subject import Subject
from orlop.build.dockerfile.reading import Bases, Known, default_bases, read
from orlop.build.dockerfile.scope import Given
from orlop.build.dockerfile.tree import Directives, Dockerfile, Warning
from orlop.formats.ignore import Ignore
from orlop.formats.platform import Platform

__all__ = ["check"]

_ALL = ("all",)


def check(
    dockerfile: Dockerfile,
    arguments: Given | None = None,
    *,
    target: Platform | None = None,
    host: Platform | None = None,
    bases: Bases | None = None,
    built: Collection[str] | None = None,
    ignore: Ignore | None = None,
) -> tuple[Warning, ...]:
    """Return the warnings in the order of their lines. `arguments` are the build arguments that were given.

    What is known beyond the Dockerfile is optional: `target` and `host` are the platforms that the build is for and on,
    `bases` tells what images are, `built` names the stages that are built (as in `Graph.stages`; all without it), and
    `ignore` is the context's .dockerignore. What needs more than is known is not warned of.
    """
    known = Known(arguments=arguments or {})
    if target is not None:
        known = replace(known, target=target)
    if host is not None:
        known = replace(known, host=host)
    if bases is not None:
        known = replace(known, bases=bases)
    subject = Subject(dockerfile, read(dockerfile, known), default_bases(dockerfile, known), built, ignore)
    found = [
        Warning(rule.name, message, place, rule.description, rule.url)
        for rule in RULES
        if _is_followed(rule, dockerfile.directives)
        for place, message in rule.find(subject)
    ]
    names = {rule.name for rule in RULES}
    found += (warning for warning in dockerfile.warnings if warning.rule not in names)
    return tuple(sorted(found, key=lambda warning: warning.range.line if warning.range else 0))


def _is_followed(rule: Rule, directives: Directives) -> bool:
    if rule.experimental:
        return directives.check_experimental == _ALL or rule.name in directives.check_experimental
    return directives.check_skip != _ALL and rule.name not in directives.check_skip
