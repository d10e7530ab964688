"""The description of the API, for programs at /openapi.json and for people at /docs.

The page is Swagger UI, from files that are on this machine: it loads nothing from elsewhere.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Awaitable, Callable
from pathlib import Path

from fastapi import APIRouter, FastAPI
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response

from ai_core.api.route_access import needs

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Code du Travail Neo: AI core</title>
<link rel="stylesheet" href="docs/swagger-ui.css">
<link rel="icon" type="image/png" href="docs/favicon-32x32.png">
</head>
<body>
<div id="swagger-ui"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
START = """// Whoever opened this page with a key in its address may load nothing relative to that address.
const page = location.origin + location.pathname;
window.ui = SwaggerUIBundle({
  url: new URL("openapi.json", page).href,
  dom_id: "#swagger-ui",
  deepLinking: true,
  validatorUrl: null,
  persistAuthorization: false,
  tryItOutEnabled: true,
});
"""
SECURITY = {
    # Swagger UI sets styles of its elements and draws icons from data; all else comes from here.
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}
ASSETS = {
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
    "favicon-32x32.png": "image/png",
}


def assets_folder() -> Path:
    """Where the package with Swagger UI's files keeps them; the package itself is not imported."""
    spec = importlib.util.find_spec("fastapi_swagger")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "resources"


def description_routes(app: FastAPI) -> APIRouter:
    """The OpenAPI file of an application, and the page that shows it."""
    router = APIRouter(include_in_schema=False)
    folder = assets_folder()

    @router.get("/openapi.json")
    @needs(None, browser=True)
    async def openapi() -> JSONResponse:
        return JSONResponse(app.openapi())

    @router.get("/docs")
    @needs(None, browser=True)
    async def docs() -> HTMLResponse:
        return HTMLResponse(PAGE, headers=SECURITY)

    @router.get("/docs/start.js")
    @needs(None, browser=True)
    async def start() -> Response:
        return Response(START, media_type="text/javascript", headers=SECURITY)

    for name, media_type in ASSETS.items():
        router.add_api_route(f"/docs/{name}", _asset(folder / name, media_type), methods=["GET"])
    return router


def _asset(path: Path, media_type: str) -> Callable[[], Awaitable[Response]]:
    @needs(None, browser=True)
    async def asset() -> Response:
        return FileResponse(path, media_type=media_type, headers=SECURITY)

    return asset
