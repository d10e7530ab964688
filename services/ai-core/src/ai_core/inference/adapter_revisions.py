"""Which adapter answers under a name, so that nothing that another one answered is taken for its answer."""

from __future__ import annotations

from pathlib import Path

import msgspec

from ai_core.catalog.revision import Revision
from ai_core.engine.messages import AdapterFile, Submit
from ai_core.engine_client.port import Adaptable, Engine


class AdapterRevisions:
    """Digests of adapter files, by their places. All methods belong to one event loop."""

    def __init__(self) -> None:
        self._known: dict[tuple[Engine, str], Revision] = {}

    async def mark(self, request: Submit, engine: Engine) -> Submit:
        """The request with its adapter's revision as its namespace: cached answers and prefixes belong to
        the files that computed them, whatever the adapter is called."""
        if not request.adapter or not isinstance(engine, Adaptable):
            return request
        found = next((file for file in engine.adapters if file.name == request.adapter), None)
        if found is None:
            return request
        revision = await self._revision(found, engine)
        return msgspec.structs.replace(request, namespace=f"{request.namespace} {revision}".strip())

    async def _revision(self, file: AdapterFile, engine: Engine) -> str:
        revision = self._known.setdefault((engine, file.path), Revision(Path(file.path)))
        return f"{await revision.current(engine.ready)}{file.scale!r}"
