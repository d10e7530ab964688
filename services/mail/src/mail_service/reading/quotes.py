"""What somebody wrote now, what they quoted, and how they signed: told apart line by line.

Line by line and with words, not with one expression over the whole text: those of the well-known parsers
need quadratic time and worse for a text made for it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

LONGEST_LINE = 400
"""Characters of a line that expressions look at."""

_WROTE = re.compile(
    r"^(?:(?:le|on|am|el|il|op|em)\s.{4,300}|.{0,200}<[^<>\s]{3,100}@[^<>\s]{3,100}>.{0,60}|\d{4}.{4,200})"
    r"(?:a\s[ée]crit|wrote|schrieb[^:]{0,100}|escribi[óo]|ha\sscritto|schreef[^:]{0,100}|escreveu)"
    r"\s{0,2}:\s*$",
    re.IGNORECASE,
)
_WHEN_OR_WHO = re.compile(r"\d{1,2}\s?[:h.]\s?\d{2}|\b\d{4}\b|@|/\d{2}")
_TO_ME = re.compile(
    r"(?:m['’]|nous\s|vous\s|lui\s|leur\s|my\s\w{1,20}\s)(?:a\s[ée]crit|wrote)", re.IGNORECASE
)
_WROTE_START = re.compile(r"^(?:le|on|am|el|il|op|em)\s", re.IGNORECASE)
_RULE = re.compile(
    r"^[-_*\s]{2,}(?:message\s(?:d['’]origine|original|transf[ée]r[ée]|initial)|original\smessage"
    r"|forwarded\smessage"
    r"|(?:e-?)?mail\s(?:d['’]origine|original)|urspr[üu]ngliche\snachricht|mensaje\soriginal"
    r"|d[ée]but\sdu\smessage\s(?:transf[ée]r[ée]|r[ée]exp[ée]di[ée]))",
    re.IGNORECASE,
)
_FORWARD = re.compile(
    r"^(?:d[ée]but du message (?:transf[ée]r[ée]|r[ée]exp[ée]di[ée])|begin forwarded message)\s?:\s*$",
    re.IGNORECASE,
)
_LINE = re.compile(r"^[_-]{5,400}$")
_FROM = re.compile(r"^[*\s]{0,4}(?:de|from|von|exp[ée]diteur)\s?\*?\s?:\*?\s?\S", re.IGNORECASE)
_FIELD = re.compile(
    r"^[*\s]{0,4}(?:envoy[ée](?: le)?|sent|date|to|[àa]|cc|objet|subject|destinataires?|pour|an|betreff"
    r"|gesendet|organi[sz]ation|reply-to|r[ée]pondre [àa])\s?\*?\s?:",
    re.IGNORECASE,
)
_DEVICE = re.compile(
    r"^(?:envoy[ée]e?\s(?:depuis|de|via|[àa] partir (?:de|du|d['’]))\s?.{1,100}"
    r"|sent\s(?:from|via|with)\s.{1,80}|(?:obtenir|get|t[ée]l[ée]charge[rz])\soutlook\s(?:pour|for)\s.{1,60}"
    r"|provenance\s?:\s?courrier.{0,60}"
    r"|sent from outlook.{0,60}|von meinem .{1,60}gesendet\.?)$",
    re.IGNORECASE,
)
_DEVICES = re.compile(
    r"iphone|ipad|android|mobile|t[ée]l[ée]phone|smartphone|samsung|galaxy|huawei|outlook|yahoo|gmail|proton"
    r"|mail|orange|sfr|free|blackberry|xiaomi|windows|messagerie|bluemail|appareil|device|phone|mac\b",
    re.IGNORECASE,
)
_SEALED = "-----BEGIN PGP MESSAGE-----"
_PGP_SIGNED = "-----BEGIN PGP SIGNED MESSAGE-----"
_PGP_SIGNATURE = "-----BEGIN PGP SIGNATURE-----"


@dataclass(frozen=True, slots=True)
class Written:
    """One text, told apart."""

    text: str
    quoted: str
    signature: str
    is_sealed: bool
    """It is encrypted with PGP, in the text."""


def separate(text: str) -> Written:
    """Tell apart; what stands below a quotation's head all counts as quoted, and nothing is dropped."""
    is_sealed = _SEALED in text
    lines = _without_armour(text.split("\n"))
    cut = next((index for index in range(len(lines)) if _begins_quote(lines, index)), len(lines))
    new, old = lines[:cut], lines[cut:]
    answered, inline = _interleaved(new, old)
    own, signature = _signed(answered)
    return Written(
        "\n".join(own).strip(), "\n".join([*inline]).strip(), "\n".join(signature).strip(), is_sealed
    )


def _without_armour(lines: list[str]) -> list[str]:
    if _PGP_SIGNED not in lines:
        return lines
    end = lines.index(_PGP_SIGNATURE) if _PGP_SIGNATURE in lines else len(lines)
    return [line for line in lines[:end] if line != _PGP_SIGNED and not line.startswith("Hash: ")]


def _begins_quote(lines: Sequence[str], index: int) -> bool:
    """Whether everything from here on is somebody's earlier mail."""
    line = lines[index][:LONGEST_LINE].strip()
    if not line:
        return False
    if _RULE.match(line) or _FORWARD.match(line) or _says_who_wrote(line):
        return True
    following = [each[:LONGEST_LINE].strip() for each in lines[index + 1 : index + 5]]
    # Mailers break the head of a quotation into two or three lines.
    if _WROTE_START.match(line):
        for count in (1, 2):
            joined = " ".join([line, *following[:count]])[:LONGEST_LINE]
            if _says_who_wrote(joined) and "?" not in line:
                return True
    if _LINE.match(line) and following:
        # Outlook draws one above its head.
        line, following = following[0], following[1:]
    return bool(_FROM.match(line)) and sum(bool(_FIELD.match(each)) for each in following) >= 2


def _says_who_wrote(line: str) -> bool:
    """A date or an address belongs to it: *mon chef m'a écrit :* is a sentence of the sender's own."""
    return bool(_WROTE.match(line) and _WHEN_OR_WHO.search(line) and not _TO_ME.search(line))


def _interleaved(new: Sequence[str], old: Sequence[str]) -> tuple[list[str], list[str]]:
    """Some answer below or between the quoted lines: what is not marked as quoted there is theirs."""
    own: list[str] = []
    quoted: list[str] = []
    for line in new:
        (quoted if line.startswith(">") else own).append(line)
    if any(line.startswith(">") for line in old):
        head, *rest = _after_head(old)
        quoted += head
        below = rest[0] if rest else []
        for line in below:
            (quoted if line.startswith(">") or not line.strip() else own).append(line)
    else:
        quoted += old
    return own, quoted


def _after_head(old: Sequence[str]) -> tuple[list[str], list[str]]:
    """The head of the quotation with all before its first marked line, and the rest."""
    first = next(index for index, line in enumerate(old) if line.startswith(">"))
    return list(old[:first]), list(old[first:])


def _signed(lines: list[str]) -> tuple[list[str], list[str]]:
    for index, line in enumerate(lines):
        if line.rstrip("\r") in {"-- ", "--", "—", "__"} and any(each.strip() for each in lines[:index]):
            return lines[:index], lines[index:]
    own = list(lines)
    signature: list[str] = []
    while own and (not own[-1].strip() or _is_device(own[-1])):
        signature.insert(0, own.pop())
    return own, signature


def _is_device(line: str) -> bool:
    line = line[:LONGEST_LINE].strip()
    return bool(_DEVICE.match(line) and _DEVICES.search(line))
