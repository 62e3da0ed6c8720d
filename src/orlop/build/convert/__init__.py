"""From a Dockerfile's tree to the graph of a build: pure, and the one place that knows what an instruction means."""

from orlop.build.convert.convert import Missing, convert
from orlop.build.convert.errors import ConversionError

__all__ = ["ConversionError", "Missing", "convert"]
