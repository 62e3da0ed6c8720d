"""`GET /networks` and `GET /networks/{id}`: the predefined networks; others are still to come."""

from __future__ import annotations

from orlop.api.router import Route

__all__ = ["ROUTES"]

ROUTES: tuple[Route, ...] = ()
