"""The rules by name, each with what is wrong in general and with what finds it (docs.docker.com, "Build checks").

An experimental one is followed only where the Dockerfile asks for it (``# check=experimental=…``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from orlop.build.dockerfile.check import casing, instructions, stages
from orlop.build.dockerfile.check.subject import Find

__all__ = ["RULES", "Rule"]

_PAGES = "https://docs.docker.com/go/dockerfile/rule/"
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=JSON)(?=[A-Z])")


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule. `find` yields where it is broken; `page` says that there is a page on it."""

    name: str
    description: str
    find: Find
    experimental: bool = False
    page: bool = True

    @property
    def url(self) -> str:
        """The page on this rule, "" without one."""
        return f"{_PAGES}{_HUMP.sub('-', self.name).lower()}/" if self.page else ""


RULES = (
    Rule("StageNameCasing", "Stage names should be lowercase", casing.stage_name_casing),
    Rule(
        "FromAsCasing",
        "The 'as' keyword should match the case of the 'from' keyword",
        casing.from_as_casing,
    ),
    Rule(
        "NoEmptyContinuation",
        "Empty continuation lines will become errors in a future release",
        instructions.empty_continuation,
    ),
    Rule(
        "ConsistentInstructionCasing",
        "All commands within the Dockerfile should use the same casing (either upper or lower)",
        casing.instruction_casing,
    ),
    Rule("DuplicateStageName", "Stage names should be unique", stages.duplicate_stage_name),
    Rule("ReservedStageName", "Reserved words should not be used as stage names", stages.reserved_stage_name),
    Rule(
        "JSONArgsRecommended",
        "JSON arguments recommended for ENTRYPOINT/CMD to prevent unintended behavior related to OS signals",
        instructions.json_arguments,
    ),
    Rule(
        "MaintainerDeprecated",
        "The MAINTAINER instruction is deprecated, use a label instead to define an image author",
        instructions.maintainer,
    ),
    Rule("UndefinedArgInFrom", "FROM command must use declared ARGs", stages.undefined_argument),
    Rule(
        "WorkdirRelativePath",
        "Relative workdir without an absolute workdir declared within the build "
        "can have unexpected results if the base image changes",
        instructions.relative_workdir,
    ),
    Rule("UndefinedVar", "Variables should be defined before their use", instructions.undefined_variable),
    Rule(
        "MultipleInstructionsDisallowed",
        "Multiple instructions of the same type should not be used in the same stage",
        instructions.repeated,
    ),
    Rule(
        "LegacyKeyValueFormat",
        "Legacy key/value format with whitespace separator should not be used",
        instructions.legacy_pairs,
    ),
    Rule(
        "InvalidBaseImagePlatform",
        "Base image platform does not match expected target platform",
        stages.base_image_platform,
        page=False,
    ),
    Rule(
        "RedundantTargetPlatform",
        "Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior",
        stages.redundant_platform,
    ),
    Rule(
        "SecretsUsedInArgOrEnv",
        "Sensitive data should not be used in the ARG or ENV commands",
        instructions.secrets,
    ),
    Rule(
        "InvalidDefaultArgInFrom",
        "Default value for global ARG results in an empty or invalid base image name",
        stages.default_base,
    ),
    Rule(
        "FromPlatformFlagConstDisallowed",
        "FROM --platform flag should not use a constant value",
        stages.constant_platform,
    ),
    Rule(
        "CopyIgnoredFile",
        "Attempting to Copy file that is excluded by .dockerignore",
        instructions.copied_although_ignored,
    ),
    Rule(
        "InvalidDefinitionDescription",
        "Comment for build stage or argument should follow the format: `# <arg/stage name> <description>`. "
        "If this is not intended to be a description comment, "
        "add an empty line or comment between the instruction and the comment.",
        instructions.definition_description,
        experimental=True,
    ),
    Rule("ExposeProtoCasing", "Protocol in EXPOSE instruction should be lowercase", casing.expose_proto_casing),
    Rule(
        "ExposeInvalidFormat",
        "IP address and host-port mapping should not be used in EXPOSE instruction. "
        "This will become an error in a future release",
        instructions.expose_format,
    ),
)
