"""The rules by name, with what each is about; how they are looked for stands in the modules beside this one."""

from __future__ import annotations

import re
from dataclasses import dataclass

from orlop.build.dockerfile.tree import Range, Warning

__all__ = ["EXPERIMENTAL", "RULES", "warning"]

_PAGES = "https://docs.docker.com/go/dockerfile/rule/"
_WORDS = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=JSON)(?=[A-Z])")


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule: `description` is what is wrong in general."""

    name: str
    description: str
    page: bool = True

    @property
    def url(self) -> str:
        """Where more is said of it."""
        return f"{_PAGES}{_WORDS.sub('-', self.name).lower()}/" if self.page else ""


RULES = {
    rule.name: rule
    for rule in (
        Rule("StageNameCasing", "Stage names should be lowercase"),
        Rule("FromAsCasing", "The 'as' keyword should match the case of the 'from' keyword"),
        Rule("NoEmptyContinuation", "Empty continuation lines will become errors in a future release"),
        Rule(
            "ConsistentInstructionCasing",
            "All commands within the Dockerfile should use the same casing (either upper or lower)",
        ),
        Rule("DuplicateStageName", "Stage names should be unique"),
        Rule("ReservedStageName", "Reserved words should not be used as stage names"),
        Rule(
            "JSONArgsRecommended",
            "JSON arguments recommended for ENTRYPOINT/CMD to prevent unintended behavior related to OS signals",
        ),
        Rule(
            "MaintainerDeprecated",
            "The MAINTAINER instruction is deprecated, use a label instead to define an image author",
        ),
        Rule("UndefinedArgInFrom", "FROM command must use declared ARGs"),
        Rule(
            "WorkdirRelativePath",
            "Relative workdir without an absolute workdir declared within the build can have unexpected results if "
            "the base image changes",
        ),
        Rule("UndefinedVar", "Variables should be defined before their use"),
        Rule(
            "MultipleInstructionsDisallowed",
            "Multiple instructions of the same type should not be used in the same stage",
        ),
        Rule("LegacyKeyValueFormat", "Legacy key/value format with whitespace separator should not be used"),
        Rule("InvalidBaseImagePlatform", "Base image platform does not match expected target platform", page=False),
        Rule(
            "RedundantTargetPlatform",
            "Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior",
        ),
        Rule("SecretsUsedInArgOrEnv", "Sensitive data should not be used in the ARG or ENV commands"),
        Rule("InvalidDefaultArgInFrom", "Default value for global ARG results in an empty or invalid base image name"),
        Rule("FromPlatformFlagConstDisallowed", "FROM --platform flag should not use a constant value"),
        Rule("CopyIgnoredFile", "Attempting to Copy file that is excluded by .dockerignore"),
        Rule(
            "InvalidDefinitionDescription",
            "A comment right above a stage or an argument should begin with its name: `# <name> <description>`",
        ),
        Rule("ExposeProtoCasing", "Protocol in EXPOSE instruction should be lowercase"),
        Rule(
            "ExposeInvalidFormat",
            "IP address and host-port mapping should not be used in EXPOSE instruction. "
            "This will become an error in a future release",
        ),
    )
}
"""All rules, in the order in which Docker has them."""

EXPERIMENTAL = frozenset(("InvalidDefinitionDescription",))
"""Rules that only those get who ask for them (``# check=experimental=…``)."""


def warning(name: str, message: str, place: Range | None) -> Warning:
    """Return a warning by the rule `name`."""
    rule = RULES[name]
    return Warning(name, message, place, rule.description, rule.url)
