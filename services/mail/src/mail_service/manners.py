"""What the settings mean for how mails are answered."""

from __future__ import annotations

from datetime import timedelta

from mail_service.accounts import Account
from mail_service.answering.answers import Limits, Manner
from mail_service.answering.asking import Persona
from mail_service.answering.prompts import load_prompts
from mail_service.composing.signing import Signer, load_signer
from mail_service.config import Settings


def signer_of(settings: Settings, accounts: tuple[Account, ...]) -> Signer | None:
    """Signs for the domain of the accounts. Raises SigningError."""
    if settings.dkim_key_path is None:
        return None
    domain = accounts[0].address.rpartition("@")[2]
    return load_signer(domain=domain, selector=settings.dkim_selector, path=settings.dkim_key_path)


def manner_of(settings: Settings, ours: frozenset[str]) -> Manner:
    """How mails are answered. Raises PromptError."""
    return Manner(
        persona=Persona(
            system=load_prompts(settings.prompts_path),
            most_earlier_characters=settings.max_conversation_characters,
            most_characters=settings.max_prompt_characters,
            model=settings.default_model,
            adapter=settings.default_adapter,
        ),
        limits=Limits(
            most_earlier=settings.max_conversation_length,
            most_mail_bytes=settings.max_email_size,
            most_file_bytes=settings.max_attachment_size,
            processing_timeout=settings.processing_timeout,
            give_up_after=timedelta(hours=settings.give_up_hours),
        ),
        ours=ours,
    )
