"""From the bytes of a stranger to a letter. Nothing here raises, and nothing takes longer than the bytes'
length justifies: what is too deep, too many or too long is cut, and the letter says so."""

from mail_service.reading.letter import read

__all__ = ["read"]
