"""Keys over HTTP, for administrators."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import httpx
import pytest
import structlog

from access_keys import KEY
from ai_core.access.administration import utc_now
from ai_core.access.caller import Scope
from edge_server import Server, error_of

PATH = "/api/v1/admin/keys"


async def create(server: Server, **fields: Any) -> httpx.Response:
    return await server.client.post(PATH, json={"name": "a program", "scopes": ["generate"]} | fields)


async def works(server: Server, key: str) -> bool:
    response = await server.anonymous.get("/api/v1/health", headers={"X-API-Key": key})
    return response.status_code == 200


async def test_a_key_is_shown_once_and_works_at_once(server: Server) -> None:
    response = await create(server)
    assert response.status_code == 201
    assert response.headers["cache-control"] == "no-store"
    made = response.json()
    assert made["key"].startswith(f"neo_{made['id']}_")
    assert await works(server, made["key"])
    one = (await server.client.get(f"{PATH}/{made['id']}")).json()
    listed = (await server.client.get(PATH)).json()["keys"]
    assert one == listed[-1] == {name: value for name, value in made.items() if name != "key"}
    assert [key["id"] for key in listed] == [KEY.id, made["id"]]
    secret = made["key"].rpartition("_")[2]
    assert secret not in str(listed)
    assert "digest" not in str(listed)


async def test_everything_that_is_asked_for_is_what_the_key_is(server: Server) -> None:
    soon = (utc_now() + timedelta(days=1)).replace(microsecond=0)
    wish = {
        "name": "Économe <script>alert(1)</script> '; DROP TABLE api_keys; -- {{7*7}}",
        "scopes": ["models:read", "generate"],
        "requests_per_minute": 5,
        "tokens_per_minute": 6,
        "tokens_per_day": 7,
        "concurrent_requests": 8,
        "allowed_models": ["fake-model", "later"],
        "default_model": "later",
        "networks": ["192.0.2.0/24"],
        "priority": "batch",
        "fair_by_user": True,
        "expires_at": soon.isoformat(),
    }
    made = (await create(server, **wish)).json()
    assert wish | {"scopes": ["generate", "models:read"]} == {name: made[name] for name in wish}
    assert made["state"] == "active"


async def test_limits_that_are_left_out_are_the_default_and_0_is_none(server: Server) -> None:
    assert (await create(server)).json()["requests_per_minute"] == 60
    assert (await create(server, requests_per_minute=0)).json()["requests_per_minute"] is None
    assert (await create(server, tokens_per_day=0)).json()["tokens_per_day"] is None


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"name": ""}, "name"),
        ({"name": "line\nbreak"}, "name"),
        ({"name": None}, "name"),
        ({"scopes": []}, "scopes"),
        ({"scopes": ["everything"]}, "scopes[0]"),
        ({"scopes": ["generate"] * 7}, "scopes"),
        ({"networks": ["here"]}, "networks[0]"),
        ({"requests_per_minute": -1}, "requests_per_minute"),
        ({"requests_per_minute": 1.5}, "requests_per_minute"),
        ({"tokens_per_day": 10**13}, "tokens_per_day"),
        ({"allowed_models": ["a"], "default_model": "b"}, "default_model"),
        ({"priority": "urgent"}, "priority"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"expires_at": "2030-01-01T00:00:00"}, "expires_at"),
        ({"expires_at": "9999-12-31T23:59:59-14:00"}, "expires_at"),
        ({"expires_at": "0001-01-01T00:00:00+14:00"}, "expires_at"),
        ({"expires_at": "soon"}, "expires_at"),
        ({"secret": "mine"}, "secret"),
    ],
)
async def test_a_field_that_cannot_be_honoured_is_named(
    server: Server, fields: dict[str, Any], param: str
) -> None:
    response = await create(server, **fields)
    assert response.status_code == 400
    assert error_of(response)["param"] == param
    assert len((await server.client.get(PATH)).json()["keys"]) == 1


async def test_rotation_gives_a_new_secret(server: Server) -> None:
    made = (await create(server)).json()
    path = f"{PATH}/{made['id']}/rotate"
    rotated = (await server.client.post(path, json={})).json()
    assert rotated["id"] == made["id"]
    assert rotated["rotated_at"]
    assert await works(server, rotated["key"])
    assert not await works(server, made["key"])

    again = (await server.client.post(path, json={"grace_seconds": 60})).json()
    assert await works(server, again["key"])
    assert await works(server, rotated["key"])

    refused = await server.client.post(path, json={"grace_seconds": 10**9})
    assert error_of(refused)["param"] == "grace_seconds"


async def test_revocation_ends_a_key_at_once_and_for_good(server: Server) -> None:
    made = (await create(server)).json()
    for _ in range(2):
        revoked = (await server.client.delete(f"{PATH}/{made['id']}")).json()
        assert revoked["state"] == "revoked"
        assert not await works(server, made["key"])
    refused = await server.client.post(f"{PATH}/{made['id']}/rotate", json={})
    assert refused.status_code == 400
    assert error_of(refused)["code"] == "revoked_api_key"


@pytest.mark.parametrize("key_id", ["unknown000", "%00", "x" * 500, "' OR 1=1 --", "é", "..%2f.."])
async def test_an_id_that_is_none_is_a_404(server: Server, key_id: str) -> None:
    for response in (
        await server.client.get(f"{PATH}/{key_id}"),
        await server.client.delete(f"{PATH}/{key_id}"),
        await server.client.post(f"{PATH}/{key_id}/rotate", json={}),
        await server.client.get("/api/v1/usage", params={"key_id": key_id}),
    ):
        assert response.status_code == 404
        assert error_of(response)["code"] in {"key_not_found", "route_not_found"}


async def test_what_was_done_is_logged_by_id_and_without_secrets(server: Server) -> None:
    with structlog.testing.capture_logs() as lines:
        made = (await create(server, name="planted name")).json()
        rotated = (await server.client.post(f"{PATH}/{made['id']}/rotate", json={})).json()
        await server.client.delete(f"{PATH}/{made['id']}")
    acts = [line for line in lines if line["event"] != "request"]
    assert [(act["event"], act["about"], act["by"]) for act in acts] == [
        (event, made["id"], KEY.id) for event in ("key created", "key rotated", "key revoked")
    ]
    assert not [word for word in (made["key"], rotated["key"], "planted name") if word in str(lines)]


async def test_an_administrator_need_not_be_able_to_do_anything_else(server: Server) -> None:
    headers = {"X-API-Key": await server.new_key(Scope.ADMIN)}
    assert (await server.anonymous.get(PATH, headers=headers)).status_code == 200
    assert (await server.anonymous.get("/v1/models", headers=headers)).status_code == 403
