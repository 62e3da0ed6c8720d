"""What the checks know of images."""

from __future__ import annotations

from orlop.build.dockerfile.check import check
from orlop.build.dockerfile.parser import parse
from orlop.build.graph import ImageInfo, ImageWanted
from orlop.build.request import BuildRequest
from orlop.engine.builds.known_images import bases_of
from orlop.formats.platform import Platform

PLATFORM = Platform("linux", "arm64")
DOCUMENT = {
    "os": "linux",
    "architecture": "amd64",
    "config": {"Env": ["HOME=/root", "EMPTY"], "Shell": ["/bin/bash", "-c"], "OnBuild": ["ARG given"]},
}


def rules(text: str, **named: str) -> list[str]:
    request = BuildRequest(dockerfile=text, named=named)
    bases = bases_of({ImageWanted("image", PLATFORM): ImageInfo("sha256:0", DOCUMENT)}, request)
    return [warning.rule for warning in check(parse(text), bases=bases, target=PLATFORM)]


def test_variables_shell_triggers_and_platform_of_an_image_are_known() -> None:
    text = "FROM image\nUSER $HOME$EMPTY$given$other\nCMD run it"
    assert rules(text) == ["InvalidBaseImagePlatform", "UndefinedVar"]


def test_nothing_is_known_of_what_a_context_stands_for_or_what_was_not_found() -> None:
    text = "FROM image\nUSER $other"
    assert rules(text, image="context") == []
    assert rules(text.replace("image", "another")) == []
