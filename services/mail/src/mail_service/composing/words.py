"""What the service itself says in its mails, in its two languages. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from mail_service.language import Language

_MONTHS = {
    Language.FRENCH: "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
    Language.ENGLISH: "January February March April May June July August September October November December",
}


class Phrase(StrEnum):
    """Each has a text in every language, as Markdown; braces are filled in."""

    WAITS = "waits"
    APOLOGY = "apology"
    EXPORTED = "exported"
    FORGOTTEN = "forgotten"
    NOTHING_READ = "nothing_read"
    NOT_READ = "not_read"
    TOO_LARGE = "too_large"
    ENCRYPTED = "encrypted"
    INVITATION = "invitation"
    NOT_PROVEN = "not_proven"


_PHRASES: Mapping[Language, Mapping[Phrase, str]] = {
    Language.FRENCH: {
        Phrase.WAITS: "Votre message est bien arrivé. Nous en recevons beaucoup en ce moment : vous aurez "
        "une "
        "réponse un peu plus tard, sans avoir à écrire de nouveau.",
        Phrase.APOLOGY: "Votre message est bien arrivé, mais je n'ai pas réussi à y répondre, et j'en suis "
        "désolé. Il est gardé, et l'équipe qui s'occupe de ce service en a été avertie.",
        Phrase.EXPORTED: "Vous avez demandé ce que nous gardons sur vous. Tout se trouve dans le fichier "
        "joint : "
        "vos messages et nos réponses. Pour tout effacer, écrivez-nous avec l'objet « SUPPRIMER MES "
        "DONNÉES ».",
        Phrase.FORGOTTEN: "Comme vous l'avez demandé, tout ce que nous gardions sur vous est effacé : vos "
        "messages, nos réponses et les compteurs. Ce courriel est le dernier, et rien n'en est gardé.",
        Phrase.NOTHING_READ: "Je n'ai trouvé aucun texte dans votre message. Pourriez-vous écrire votre "
        "question "
        "dans le corps du courriel, s'il vous plaît ?",
        Phrase.NOT_READ: "*Je n'ai pas pu lire : {files}.*",
        Phrase.TOO_LARGE: "Votre message est trop volumineux pour moi ({most} Mo au plus). Pourriez-vous le "
        "renvoyer avec des pièces jointes plus légères, s'il vous plaît ?",
        Phrase.ENCRYPTED: "Votre message est chiffré, et je ne peux pas le lire. Pourriez-vous l'envoyer "
        "en clair, s'il vous plaît ?",
        Phrase.INVITATION: "Merci de votre invitation. Je suis un assistant automatique : je ne peux pas y "
        "participer, mais vous pouvez m'écrire votre question.",
        Phrase.NOT_PROVEN: "Vous demandez ce que nous gardons sur vous, mais rien ne prouve que ce message "
        "vient bien de cette adresse : votre serveur de courriel ne l'a pas signé. Écrivez-nous par un "
        "service qui signe ses messages (DKIM), ou adressez-vous à l'équipe qui s'occupe de ce service.",
    },
    Language.ENGLISH: {
        Phrase.WAITS: "Your message has arrived. We receive many just now: you will have an answer a little "
        "later, and need not write again.",
        Phrase.APOLOGY: "Your message has arrived, but I did not manage to answer it, and I am sorry. It "
        "is kept, "
        "and the team that looks after this service has been told.",
        Phrase.EXPORTED: "You asked for what we keep about you. All of it is in the attached file: your "
        "messages "
        'and our answers. To delete everything, write to us with the subject "DELETE MY DATA".',
        Phrase.FORGOTTEN: "As you asked, everything that we kept about you is deleted: your messages, our "
        "answers "
        "and the counters. This mail is the last one, and nothing of it is kept.",
        Phrase.NOTHING_READ: "I found no text in your message. Could you please write your question in the "
        "body "
        "of the mail?",
        Phrase.NOT_READ: "*I could not read: {files}.*",
        Phrase.TOO_LARGE: "Your message is too large for me ({most} MB at most). Could you please send it "
        "again "
        "with smaller attachments?",
        Phrase.ENCRYPTED: "Your message is encrypted, and I cannot read it. Could you please send it "
        "unencrypted?",
        Phrase.INVITATION: "Thank you for your invitation. I am an automatic assistant: I cannot come, but "
        "you can write your question to me.",
        Phrase.NOT_PROVEN: "You ask about what we keep about you, but nothing proves that this message is "
        "from that address: your mail server did not sign it. Please write by a service that signs its "
        "messages (DKIM), or turn to the team that looks after this service.",
    },
}

_SUBJECTS = {
    Language.FRENCH: "Votre message",
    Language.ENGLISH: "Your message",
}


@dataclass(frozen=True, slots=True)
class Words:
    """The fixed words around an answer."""

    greeting: str
    dated: str
    reference: str
    wrote: str


def phrase(which: Phrase, language: Language, **values: object) -> str:
    """A text, as Markdown."""
    return _PHRASES[language][which].format(**values)


def no_subject(language: Language) -> str:
    """The subject of an answer to a mail that has none, where nobody suggests one."""
    return _SUBJECTS[language]


def long_date(moment: datetime, language: Language) -> str:
    """A day and a time, as one writes them."""
    month = _MONTHS[language].split()[moment.month - 1]
    clock = f"{moment:%H:%M}"
    if language is Language.FRENCH:
        day = "1er" if moment.day == 1 else str(moment.day)
        return f"{day} {month} {moment.year} à {clock}"
    return f"{moment.day} {month} {moment.year} at {clock}"


def words(
    language: Language, *, name: str, answered: datetime, written: datetime | None, quoted_name: str
) -> Words:
    """The words around one answer."""
    if language is Language.FRENCH:
        when = f"Le {long_date(written, language)}, " if written is not None else ""
        return Words(
            greeting=f"Bonjour {name}," if name else "Bonjour,",
            dated=f"Réponse du {long_date(answered, language)}",
            reference="Référence",
            wrote=f"{when}{quoted_name} a écrit\u00a0:",
        )
    when = f"On {long_date(written, language)}, " if written is not None else ""
    return Words(
        greeting=f"Hello {name}," if name else "Hello,",
        dated=f"Answered on {long_date(answered, language)}",
        reference="Reference",
        wrote=f"{when}{quoted_name} wrote:",
    )
