from __future__ import annotations

from typing import Any, cast

import pytest

from orlop.engine.containers import mounts
from orlop.errors import Conflict, Internal, InvalidArgument
from orlop.model.record import MountRecord


async def test_what_went_wrong_first_is_told_also_when_the_volumes_cannot_be_taken_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    removed = []

    async def realise(engine: Any, request: Any, image: Any, made: list[str], pins: Any) -> MountRecord:
        made += ["used", "broken", "last"]
        raise InvalidArgument("the first error")

    async def remove(engine: Any, name: str, force: bool) -> None:
        removed.append(name)
        if name != "last":
            raise Conflict("in use") if name == "used" else Internal("the second error")

    monkeypatch.setattr(mounts, "_realise", realise)
    monkeypatch.setattr(mounts, "remove_volume", remove)
    with pytest.raises(InvalidArgument, match="the first error"):
        async with mounts.realised(cast(Any, None), cast(Any, [None]), cast(Any, None)):
            pass
    assert removed == ["used", "broken", "last"]
