"""From accounts to what speaks with their servers."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import httpx
from pydantic import SecretStr

from mail_service.accounts import Account
from mail_service.mailbox.imap import ImapMailbox, Timing
from mail_service.mailbox.port import Mailbox
from mail_service.mailbox.wire import ImapServer
from mail_service.sending.port import Outlet
from mail_service.sending.session import Security, SmtpServer
from mail_service.sending.smtp import SmtpOutlet
from mail_service.signing_in import AccessTokens, Password
from servicekit.settings import SettingsError

_Server = TypeVar("_Server")

SUBMISSIONS_PORT = 465
"""Where TLS begins with the first byte (RFC 8314)."""


@dataclass(frozen=True, slots=True)
class Post:
    """The servers of all accounts."""

    mailboxes: Mapping[str, Mailbox]
    """By their names: one for each folder that is watched."""
    first_mailboxes: Mapping[str, Mailbox]
    """By the addresses of accounts: the one whose Sent and Drafts are used."""
    outlets: Mapping[str, Outlet]
    """By the addresses of accounts."""
    accounts_of: Mapping[str, str]
    """The account's address of each mailbox, by its name."""

    @property
    def numbered_mailboxes(self) -> dict[str, Mailbox]:
        """By the names that operators are told, in the order of the settings: ``imap``, or ``imap_1``."""
        return _numbered("imap", self.mailboxes)

    @property
    def numbered_outlets(self) -> dict[str, Outlet]:
        """The same: ``smtp``, or ``smtp_1``."""
        return _numbered("smtp", self.outlets)

    async def close(self) -> None:
        """Hang up everywhere."""
        for mailbox in self.mailboxes.values():
            await mailbox.close()
        for outlet in self.outlets.values():
            await outlet.close()


def connect(accounts: tuple[Account, ...], http: httpx.AsyncClient, *, max_bytes: int) -> Post:
    """Nothing is said to any server yet. Raises SettingsError.

    Args:
        max_bytes: of a mail that is fetched.
    """
    mailboxes: dict[str, Mailbox] = {}
    first: dict[str, Mailbox] = {}
    outlets: dict[str, Outlet] = {}
    accounts_of: dict[str, str] = {}
    for account in accounts:
        tokens = _tokens(account, http)
        imap = ImapServer(
            account.imap_host,
            account.imap_port,
            _trust(account) if account.imap_ssl else None,
            tokens or _password(account.imap_username, account.password),
        )
        timing = Timing(check=account.check_interval)
        for folder in account.folders:
            mailbox = ImapMailbox(imap, folder, max_bytes=max_bytes, timing=timing)
            mailboxes[mailbox.name] = mailbox
            accounts_of[mailbox.name] = account.address
            first.setdefault(account.address, mailbox)
        outlets[account.address] = SmtpOutlet(_smtp(account, tokens))
    return Post(mailboxes, first, outlets, accounts_of)


def _numbered(kind: str, servers: Mapping[str, _Server]) -> dict[str, _Server]:
    alone = len(servers) == 1
    names = (kind if alone else f"{kind}_{number}" for number in range(1, len(servers) + 1))
    return dict(zip(names, servers.values(), strict=True))


def _smtp(account: Account, tokens: AccessTokens | None) -> SmtpServer:
    if not account.smtp_ssl:
        security = Security.NONE
    else:
        security = Security.TLS if account.smtp_port == SUBMISSIONS_PORT else Security.STARTTLS
    signing_in = None
    if tokens is not None or account.smtp_password is not None:
        signing_in = tokens or _password(account.smtp_username, account.smtp_password)
    return SmtpServer(
        account.smtp_host,
        account.smtp_port,
        security,
        _trust(account) if account.smtp_ssl else None,
        signing_in,
        account.domain,
    )


def _tokens(account: Account, http: httpx.AsyncClient) -> AccessTokens | None:
    oauth = account.oauth
    if oauth is None:
        return None
    secret = oauth.client_secret
    return AccessTokens(
        http,
        account.imap_username,
        token_url=oauth.token_url,
        client_id=oauth.client_id,
        client_secret=secret.get_secret_value() if secret is not None else None,
        refresh_token=oauth.refresh_token.get_secret_value(),
    )


def _password(user: str, password: SecretStr | None) -> Password:
    return Password(user, password.get_secret_value() if password is not None else "")


def _trust(account: Account) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if account.ca_file is not None:
        try:
            context.load_verify_locations(account.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise SettingsError([f"CA_FILE names {account.ca_file}, which holds no certificates."]) from error
    return context
