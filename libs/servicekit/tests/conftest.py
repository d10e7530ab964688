"""What several tests of servicekit use."""

from journal_office import address, office

__all__ = ["address", "office"]
