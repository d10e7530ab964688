"""The lists that count now; the operator may change their file while the service runs."""

from __future__ import annotations

from pathlib import Path

from ai_core.inference.content_filter.rules import RulesError, RuleSet, parse_rules
from servicekit.logging import get_logger

MAX_FILE_BYTES = 4_194_304

log = get_logger(__name__)


class ContentFilterError(Exception):
    """The file of CONTENT_FILTER_PATH cannot be used; ``lines`` holds one sentence per mistake."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = tuple(lines)


class ContentFilter:
    """Holds the compiled lists of one file. What has begun under the old ones ends under them."""

    def __init__(self, path: Path) -> None:
        """Raises ContentFilterError."""
        self._path = path
        self.rules = read_rules(path)

    def reload(self) -> None:
        """Read the file again. If it cannot be used, that is logged, and the old lists go on counting."""
        try:
            self.rules = read_rules(self._path)
        except ContentFilterError as error:
            log.error("content filter not reloaded", mistakes=error.lines)  # noqa: TRY400
        else:
            log.info("content filter reloaded", **counts(self.rules))


def counts(rules: RuleSet) -> dict[str, int]:
    """How many rules there are, by direction."""
    return {
        "prompt_rules": rules.prompt.count if rules.prompt else 0,
        "answer_rules": rules.answer.count if rules.answer else 0,
    }


def read_rules(path: Path) -> RuleSet:
    """The lists in a file. Raises ContentFilterError."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ContentFilterError(
            [f"CONTENT_FILTER_PATH: {path} cannot be read ({error.strerror})."]
        ) from error
    if len(content) > MAX_FILE_BYTES:
        raise ContentFilterError([f"CONTENT_FILTER_PATH: {path} is larger than {MAX_FILE_BYTES} bytes."])
    try:
        return parse_rules(content)
    except RulesError as error:
        raise ContentFilterError([f"{path}, {line}" for line in error.lines]) from error
