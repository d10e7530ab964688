"""What several tests of the Telegram service use."""

from journal_office import address, office

__all__ = ["address", "office"]
