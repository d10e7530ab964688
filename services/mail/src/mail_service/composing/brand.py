"""How answers look, and in whose name they come: what an operator may change by a file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import msgspec

from mail_service.language import Language

MAX_LOGO_BYTES = 200_000
_LOGO_BEGINNINGS = {b"\x89PNG\r\n\x1a\n": "png", b"\xff\xd8\xff": "jpeg", b"GIF8": "gif"}

Colour = Annotated[str, msgspec.Meta(pattern=r"^#[0-9A-Fa-f]{6}$")]
_Line = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
_Text = Annotated[str, msgspec.Meta(max_length=2_000)]


class BrandError(Exception):
    """The brand file cannot be used; the text says why."""


class Colours(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of one of the two schemes, as ``#rrggbb``."""

    accent: Colour = "#1b4b7a"
    """Of links."""
    band: Colour | None = None
    """At the top; None: the accent."""
    on_band: Colour = "#ffffff"
    """Of what stands on it."""
    page: Colour = "#eef2f6"
    paper: Colour = "#ffffff"
    text: Colour = "#1c2733"
    muted: Colour = "#55636f"
    line: Colour = "#d5dde5"


class DarkColours(Colours, frozen=True, forbid_unknown_fields=True):
    """The same where people have their screens dark."""

    accent: Colour = "#7db3e8"
    band: Colour | None = "#1d3a57"
    on_band: Colour = "#f0f6fc"
    page: Colour = "#0d1319"
    paper: Colour = "#16202a"
    text: Colour = "#e4eaf0"
    muted: Colour = "#a5b3c0"
    line: Colour = "#2d3b48"


class Texts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What stands under every answer, in one language. Plain text."""

    signature: _Text | None = None
    """None: a closing, the name and the organisation."""
    disclaimer: _Text | None = None
    """None: that an answer is information, and a lawyer gives advice."""


class Foot(msgspec.Struct, frozen=True):
    """What stands there indeed."""

    signature: str
    disclaimer: str


_CLOSINGS = {Language.FRENCH: "Bien cordialement,", Language.ENGLISH: "Kind regards,"}
_DISCLAIMERS = {
    Language.FRENCH: "Cette réponse est une information, rédigée par un assistant automatique. Elle ne "
    "remplace pas un conseil : pour votre situation, consultez un avocat ou un professionnel du droit.",
    Language.ENGLISH: "This answer is information, written by an automatic assistant. It is no substitute "
    "for advice: for your own case, ask a lawyer.",
}


class Brand(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Whatever is not in the file is as here."""

    name: _Line = "Assistant IA Code du Travail"
    """The sender's name, and the heading."""
    organisation: Annotated[str, msgspec.Meta(max_length=200)] = "ColonyLab"
    width: Annotated[int, msgspec.Meta(ge=320, le=1_000)] = 600
    """Pixels of the sheet, where there is room for it."""
    light: Colours = Colours()
    dark: DarkColours = DarkColours()
    logo: str | None = None
    """A PNG, JPEG or GIF file, sent along with each answer; None: the name stands alone."""
    logo_height: Annotated[int, msgspec.Meta(ge=16, le=200)] = 40
    fr: Texts = Texts()
    en: Texts = Texts()

    def foot(self, language: Language) -> Foot:
        """In one language."""
        own = self.fr if language is Language.FRENCH else self.en
        names = filter(None, (self.name, self.organisation))
        signature = "\n".join((_CLOSINGS[language], *names)) if own.signature is None else own.signature
        return Foot(signature, _DISCLAIMERS[language] if own.disclaimer is None else own.disclaimer)


class Logo(msgspec.Struct, frozen=True):
    """A picture that goes with each answer."""

    content: bytes
    subtype: str
    """Of ``image/``."""


def load_brand(path: Path | None) -> tuple[Brand, Logo | None]:
    """The brand in a JSON file, and its logo; the default one without a file. Raises BrandError."""
    if path is None:
        return Brand(), None
    try:
        brand = msgspec.json.decode(path.read_bytes(), type=Brand)
    except OSError as error:
        raise BrandError(f"BRAND_PATH names {path}, which cannot be read ({error.strerror}).") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BrandError(f"{path}: {_first_line(error)}.") from error
    return brand, None if brand.logo is None else _load_logo(path.parent / brand.logo)


def _load_logo(path: Path) -> Logo:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BrandError(f"The logo {path} cannot be read ({error.strerror}).") from error
    if len(content) > MAX_LOGO_BYTES:
        raise BrandError(f"The logo {path} is larger than {MAX_LOGO_BYTES} bytes; it goes with each answer.")
    for beginning, subtype in _LOGO_BEGINNINGS.items():
        if content.startswith(beginning):
            return Logo(content, subtype)
    raise BrandError(f"The logo {path} is no PNG, JPEG or GIF.")


def _first_line(error: Exception) -> str:
    return re.split(r"[\r\n]", str(error), maxsplit=1)[0].rstrip(".")
