"""What each route needs of its caller, declared at the route.

::

    @router.post("/chat")
    @needs(Scope.GENERATE)
    async def chat(request: Request) -> Response: ...

A route without a declaration is refused when the application is put together, so none can be
forgotten.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from fastapi.routing import iter_route_contexts
from starlette.routing import BaseRoute

from ai_core.access.caller import Scope

_ATTRIBUTE = "neo_route_access"
Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class RouteAccess:
    """``scope`` None: any valid key will do."""

    scope: Scope | None = None
    public: bool = False
    """No key is needed at all."""
    browser: bool = False
    """A person's browser may open it: HTTP Basic is asked for."""
    own: bool = False
    """A WebSocket that authenticates its caller itself, by its headers or its first message."""


class UndeclaredAccess(Exception):
    """A route does not say who may use it."""


def needs(scope: Scope | None, *, browser: bool = False) -> Callable[[Endpoint], Endpoint]:
    """The route needs a key with this scope; None: any valid key."""
    return _declare(RouteAccess(scope, browser=browser))


def open_to_all(endpoint: Endpoint) -> Endpoint:
    """The route needs no key. For probes that tell nothing."""
    return _declare(RouteAccess(public=True))(endpoint)


def authenticates_itself(scope: Scope) -> Callable[[Endpoint], Endpoint]:
    """A WebSocket route that takes its key in a header or in its first message, and checks it."""
    return _declare(RouteAccess(scope, own=True))


def _declare(access: RouteAccess) -> Callable[[Endpoint], Endpoint]:
    def declared(endpoint: Endpoint) -> Endpoint:
        setattr(endpoint, _ATTRIBUTE, access)
        return endpoint

    return declared


@dataclass(frozen=True, slots=True)
class DeclaredRoute:
    """One route of the application. ``methods`` is empty for a WebSocket."""

    path: str
    pattern: re.Pattern[str]
    methods: frozenset[str]
    access: RouteAccess


def declared_routes(routes: Sequence[BaseRoute]) -> list[DeclaredRoute]:
    """All routes in the order in which they are matched. Raises UndeclaredAccess."""
    return [_declared(context) for context in iter_route_contexts(routes)]


def _declared(context: Any) -> DeclaredRoute:
    access = getattr(context.endpoint, _ATTRIBUTE, None)
    pattern = getattr(context, "path_regex", None)
    if not isinstance(access, RouteAccess) or not isinstance(pattern, re.Pattern):
        raise UndeclaredAccess(
            f"{context.path or context.original_route!r} does not say who may use it: put @needs(…) under "
            "its route decorator. Mounted applications cannot be guarded."
        )
    methods = frozenset(context.methods or ())
    if not methods and not access.own:
        raise UndeclaredAccess(
            f"{context.path} is a WebSocket: it must be declared with @authenticates_itself."
        )
    if methods and access.own:
        raise UndeclaredAccess(f"{context.path} is no WebSocket: @authenticates_itself is not for it.")
    return DeclaredRoute(context.path, pattern, methods, access)


class RouteTable:
    """Finds the route of a request as the router will: the first that fits path and method."""

    def __init__(self, routes: Iterable[DeclaredRoute]) -> None:
        self._routes = tuple(routes)

    def find(self, path: str, method: str) -> DeclaredRoute | None:
        """The route for a path and a method; a WebSocket's method is empty.

        Where only the method does not fit, the first route of that path: its 405 is for those who
        could use the route.
        """
        partial: DeclaredRoute | None = None
        for route in self._routes:
            if bool(route.methods) is bool(method) and route.pattern.match(path):
                if not method or method in route.methods:
                    return route
                partial = partial or route
        return partial
