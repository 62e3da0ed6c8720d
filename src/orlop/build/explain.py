"""Why a step was carried out: what its key was made of, beside what it was made of in the last build. Pure.

A step of the last build is compared with the step that stands for it now: the same text in the same stage, else the
same place among those of its instruction.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from orlop.build.graph import Step
from orlop.build.keys import Key, printable
from orlop.build.progress import Change
from orlop.model.record import StepTrace

__all__ = ["FileList", "Since", "changes", "reason"]

FileList = Sequence[tuple[str, str]]
"""Files in the order of their paths, each with a fingerprint (`worker.Selected.files`)."""

_MOST = 100  # changes of a step that are told


@dataclass(slots=True)
class Since:
    """The steps of a target's last build, found by those of a graph."""

    _by_text: dict[tuple[str, str, int], StepTrace] = field(default_factory=dict)
    _by_place: dict[tuple[str, str, int], StepTrace] = field(default_factory=dict)
    _place: dict[int, tuple[tuple[str, str, int], tuple[str, str, int]]] = field(default_factory=dict)

    @classmethod
    def of(cls, last: Sequence[StepTrace], steps: Sequence[Step]) -> Since:
        """Return the steps of the `last` build for finding them by those of a graph, which are all of its `steps`."""
        since = cls()
        places = Counter[tuple[str, str]]()
        for trace in last:
            text, place = _places(places, trace.stage, trace.text, trace.instruction)
            since._by_text[text] = since._by_place[place] = trace
        places.clear()
        for step in steps:
            if not step.metadata:
                since._place[step.number] = _places(places, step.stage, printable(step.text), step.instruction)
        return since

    def find(self, step: Step) -> StepTrace | None:
        """Return what stood for `step` in the last build, None if nothing did."""
        text, place = self._place[step.number]
        return self._by_text.get(text) or self._by_place.get(place)


def reason(step: Step, key: Key, last: StepTrace | None) -> str:
    """Return why a step that the cache does not have is carried out (`progress.Ended.reason`)."""
    if step.no_cache:
        return "no-cache"
    if last is None:
        return "first"
    return "pruned" if last.key == key.key else "changed"


def changes(
    last: Mapping[str, str],
    now: Mapping[str, str],
    last_files: Mapping[str, FileList],
    files: Mapping[str, FileList],
    base: str = "",
) -> tuple[Change, ...]:
    """Return which inputs of a step differ: its `Key.parts`, and the lists of files by their labels, where there are.

    `base` is what the step stands on: an image's reference, or the text of the step before. At most a hundred are told,
    and then how many more there are.
    """
    found: list[Change] = []
    more = 0
    for name in sorted({*last, *now}):
        old, new = last.get(name, ""), now.get(name, "")
        sort, _, label = name.partition(":")
        if old == new or name == "environment:order":
            continue
        if sort == "file" and label in last_files and label in files:
            differing, left_out = _files(last_files[label], files[label], _MOST - len(found))
            found += differing or [Change(what="file", name=label, old=old, new=new)]
            more += left_out
        elif len(found) < _MOST:
            found.append(Change(what=sort, name=base if sort == "base" else label, old=old, new=new))
        else:
            more += 1
    if more:
        found.append(Change(what="file", name=f"and {more} more"))
    if not found:
        found.append(Change(what="environment", name="order"))
    return tuple(found)


def _places(
    places: Counter[tuple[str, str]], stage: str, text: str, instruction: str
) -> tuple[tuple[str, str, int], tuple[str, str, int]]:
    by_text, by_place = (stage, text), (stage, f"\0{instruction}")
    places.update((by_text, by_place))
    return (*by_text, places[by_text]), (*by_place, places[by_place])


def _files(last: FileList, now: FileList, most: int) -> tuple[list[Change], int]:
    """Return the files that differ, at most so many, and how many more do."""
    before = dict(last)
    differing: list[tuple[str, str, str]] = []
    for path, fingerprint in now:
        old = before.pop(path, "")
        if old != fingerprint:
            differing.append((path, old, fingerprint))
    differing += [(path, old, "") for path, old in before.items()]
    told = sorted(differing)[: max(most, 0)]
    return (
        [Change(what="file", name=printable(path), old=printable(old), new=printable(new)) for path, old, new in told],
        len(differing) - len(told),
    )
