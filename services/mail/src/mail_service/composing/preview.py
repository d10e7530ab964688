"""An answer as it would look, for whoever changes the brand."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from pathlib import Path

from mail_service.composing.brand import load_brand
from mail_service.composing.letterhead import LOGO_ID, Content, Letterhead
from mail_service.composing.message import Composer, Envelope
from mail_service.composing.subjects import reply_subject
from mail_service.language import Language
from mail_service.letters import Address

_ANSWERS = {
    Language.FRENCH: """Pour un contrat à durée indéterminée, la **durée légale** du travail est de \
35 heures par semaine (article L. 3121-27 du Code du travail).

## Ce qu'il faut savoir

1. Les heures au-delà sont des *heures supplémentaires*.
2. Elles sont majorées :
   - de 25 % pour les huit premières,
   - de 50 % ensuite.

| Heures | Majoration |
|---|---|
| 36e à 43e | 25 % |
| à partir de la 44e | 50 % |

> Un accord d'entreprise peut prévoir un autre taux, d'au moins 10 %.

Le texte complet se trouve sur [Légifrance](https://www.legifrance.gouv.fr/).""",
    Language.ENGLISH: """For a permanent contract, the **legal working time** is 35 hours a week (article \
L. 3121-27 of the Code du travail).

## What you should know

1. Hours beyond are *overtime*.
2. They are paid more:
   - 25 % for the first eight,
   - 50 % after that.

| Hours | Supplement |
|---|---|
| 36th to 43rd | 25 % |
| from the 44th on | 50 % |

> A company agreement may set another rate, of at least 10 %.

The full text is on [Légifrance](https://www.legifrance.gouv.fr/).""",
}
_QUESTIONS = {
    Language.FRENCH: (
        "Durée du travail",
        "Bonjour,\n\nQuelle est la durée légale du travail ?\n\nMerci,\nAnne",
    ),
    Language.ENGLISH: ("Working time", "Hello,\n\nwhat is the legal working time?\n\nThanks,\nAnne"),
}


def preview(brand_path: Path | None, suffix: str, language: Language, text: str | None = None) -> bytes:
    """A whole answer to an invented mail.

    Args:
        suffix: ``.html``, ``.txt``, or ``.eml`` for the mail as it would go out.
        text: what is answered, as Markdown; None: something that shows all that may occur.

    Raises:
        BrandError: the brand cannot be used.
    """
    brand, logo = load_brand(brand_path)
    now = datetime.now(UTC)
    subject, question = _QUESTIONS[language]
    content = Content(
        ai_response=_ANSWERS[language] if text is None else text,
        language=language,
        subject=reply_subject(subject, ""),
        sender_name="Anne Martin",
        sender_address="anne@example.org",
        original_subject=subject,
        original_date=now,
        original_text=question,
        response_date=now,
        thread_id="0123456789abcdef",
    )
    sheet = Letterhead(brand, has_logo=logo is not None).write(content)
    if suffix == ".txt":
        return sheet.text.encode()
    if suffix == ".eml":
        envelope = Envelope(
            sender=Address("neo@example.org", brand.name),
            envelope_sender="neo@example.org",
            recipient=Address("anne@example.org", "Anne Martin"),
            subject=content.subject,
            message_id="<answer@example.org>",
            in_reply_to="<question@example.org>",
            references=("<question@example.org>",),
            date=now,
        )
        return Composer(logo=logo).compose(envelope, sheet).content
    html = sheet.html
    if logo is not None:
        # A browser knows no parts of a mail.
        picture = base64.b64encode(logo.content).decode()
        html = html.replace(f"cid:{LOGO_ID}", f"data:image/{logo.subtype};base64,{picture}")
    return html.encode()
