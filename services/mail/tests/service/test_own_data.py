"""People have what is kept of them, and delete it; by mail only where it is proven that it is they."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta

import pytest
from sqlalchemy import select

from mail_core import scripted_core
from mail_servers import somebody
from mail_service.storage.tables import metadata
from running_service import PostOffice, RunningService, question
from servers import PATIENCE
from turned_clock import TurnedClock


@pytest.mark.parametrize(
    ("export", "delete", "deleted"),
    [
        ("EXPORTER MES DONNÉES", "SUPPRIMER MES DONNÉES", "effacé"),
        ("Export my data", "DELETE MY DATA", "deleted"),
    ],
)
async def test_export_then_delete_by_mail(
    post_office: PostOffice, export: str, delete: str, deleted: str
) -> None:
    anne, bob = somebody(), somebody()
    async with scripted_core() as core, post_office.service(core.url) as running:
        post_office.send(question(anne, post_office.address, "Mon salaire est de 2 000 euros."), anne)
        post_office.send(question(bob, post_office.address, "Et le mien ?"), bob)
        await post_office.answers(anne)
        await post_office.answers(bob)
        post_office.send(question(anne, post_office.address, "Merci.", Subject=export), anne)
        _, exported = await post_office.answers(anne, 2)
        (file,) = exported.iter_attachments()
        document = json.loads(file.get_content())
        assert [mail["direction"] for mail in document["mails"]][:2] == ["to us", "from us"]
        assert "2 000 euros" in document["mails"][0]["text"]
        assert bob not in file.get_content().decode()
        post_office.send(question(anne, post_office.address, "Merci.", Subject=delete), anne)
        *_, told = await post_office.answers(anne, 3)
        await running.settled()
        assert deleted in told.get_body(("plain",)).get_content()  # type: ignore[union-attr]
        records = running.service.records
        assert json.loads(await records.keeper.export(anne))["mails"] == []
        person, entries = records.names.person(anne), metadata.tables["entries"]
        async with records.database.reading() as connection:
            assert len((await connection.execute(select(entries))).all()) == 1
            for table in metadata.tables.values():
                for row in await connection.execute(table.select()):
                    assert person not in row
        assert len(json.loads(await records.keeper.export(bob))["mails"]) == 2
    assert len(core.asked) == 2


async def test_what_is_over_goes_by_itself_after_the_days_of_retention(
    post_office: PostOffice, clock: TurnedClock
) -> None:
    anne, bob, settings = somebody(), somebody(), {"RETENTION_DAYS": 10, "MAX_MAIL_AGE_DAYS": 10}
    async with scripted_core() as core:
        async with post_office.service(core.url, **settings) as running:
            post_office.send(question(anne, post_office.address, "Mon salaire est de 2 000 euros."), anne)
            await post_office.answers(anne)
            await running.settled()
        clock.ahead += timedelta(days=9)
        async with post_office.service(core.url, **settings) as running:
            post_office.send(question(bob, post_office.address, "Et le mien ?"), bob)
            await post_office.answers(bob)
            await running.settled()
            assert len(json.loads(await running.service.records.keeper.export(anne))["mails"]) == 2
        clock.ahead += timedelta(days=2)
        async with post_office.service(core.url, **settings) as running, asyncio.timeout(PATIENCE):
            while await kept(running, "letters") > 2:  # noqa: ASYNC110 - the house is kept in silence
                await asyncio.sleep(0.02)
            assert await kept(running, "entries") == 1
            assert len(json.loads(await running.service.records.keeper.export(bob))["mails"]) == 2


async def kept(running: RunningService, table: str) -> int:
    """How many rows."""
    async with running.service.records.database.reading() as connection:
        return len((await connection.execute(select(metadata.tables[table]))).all())


@pytest.mark.parametrize("subject", ["EXPORT MY DATA", "DELETE MY DATA"])
async def test_nobody_gets_or_deletes_the_data_of_others(post_office: PostOffice, subject: str) -> None:
    anne = somebody()
    async with scripted_core() as core, post_office.service(core.url) as running:
        post_office.send(question(anne, post_office.address), anne)
        await post_office.answers(anne)
        forged = question(anne, post_office.address, "Please do.", Subject=subject, Authentication_Results="")
        post_office.send(forged, somebody())
        _, answer = await post_office.answers(anne, 2)
        await running.settled()
        assert list(answer.iter_attachments()) == []
        assert len(json.loads(await running.service.records.keeper.export(anne))["mails"]) >= 2
    assert len(core.asked) == 1


async def test_the_operator_deletes_too(post_office: PostOffice) -> None:
    anne = somebody()
    async with scripted_core() as core, post_office.service(core.url) as running:
        post_office.send(question(anne, post_office.address), anne)
        await post_office.answers(anne)
        await running.settled()
        exported = await running.post("/admin/export", {"address": anne.upper()})
        assert len(exported.json()["mails"]) == 2
        assert (await running.post("/admin/forget", {"address": anne})).json() == {"deleted": 2}
        assert (await running.post("/admin/export", {"address": anne})).json()["mails"] == []
