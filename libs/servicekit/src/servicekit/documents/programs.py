"""Programs of the system that read what no library of ours does; each may be missing."""

from __future__ import annotations

import shutil
import subprocess

from servicekit.documents.port import Kind

OCR_LANGUAGES = ("fra", "eng")
_LISTING_SECONDS = 10.0


def command_for(kind: Kind, path: str) -> list[str] | None:
    """What writes the text of a file to its standard output, as UTF-8; None: it is not installed."""
    if kind is Kind.IMAGE:
        languages = _ocr_languages()
        return ["tesseract", path, "stdout", "-l", "+".join(languages)] if languages else None
    if shutil.which("antiword"):
        return ["antiword", "-m", "UTF-8.txt", "-w", "0", path]
    return ["catdoc", "-d", "utf-8", "-w", path] if shutil.which("catdoc") else None


def missing() -> list[str]:
    """What cannot be read on this machine, each with what to install, for the operator. Blocks a moment."""
    lacks = []
    if absent := [language for language in OCR_LANGUAGES if language not in _ocr_languages()]:
        packages = " ".join(["tesseract-ocr", *(f"tesseract-ocr-{language}" for language in absent)])
        lacks.append(f"text in images ({'/'.join(absent)}): install {packages}")
    if command_for(Kind.DOC, "") is None:
        lacks.append("old Word documents (.doc): install antiword")
    return lacks


def _ocr_languages() -> list[str]:
    """Those of ours for which tesseract is installed."""
    if shutil.which("tesseract") is None:
        return []
    try:
        listed = subprocess.run(
            ["tesseract", "--list-langs"],
            capture_output=True,
            encoding="utf-8",
            timeout=_LISTING_SECONDS,
            check=False,
        ).stdout.split()
    except (OSError, subprocess.SubprocessError):
        return []
    return [language for language in OCR_LANGUAGES if language in listed]
