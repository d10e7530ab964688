"""Typed settings from the environment, a `.env` file, or files that hold one value each."""

import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from dotenv.parser import parse_stream
from pydantic import ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

FILE_SUFFIX = "_FILE"
MAX_VALUE_BYTES = 65_536


class SettingsError(Exception):
    """The settings cannot be used. `lines` holds one readable sentence per mistake, and no values."""

    def __init__(self, lines: Iterable[str]) -> None:
        self.lines = tuple(lines)
        super().__init__("\n".join(self.lines))


class ServiceSettings(BaseSettings):
    """The base of a service's settings: one field per setting, named like the variable in lower case.

    A setting comes from the first of these that has it:

    1. the environment, as `NAME`, or as `NAME_FILE`: the path of a file with the value, of which
       one newline at the end does not count; both at once is an error;
    2. the `.env` file, in the same two ways;
    3. the field's default.

    An empty `NAME=` means "not set", as it stands in `.env.example`. Names that belong to no field
    are ignored: an environment is full of them. Type secrets as `SecretStr`, which no repr shows.
    """

    # hide_input_in_errors: a secret that is refused must not reach a log either.
    model_config = SettingsConfigDict(
        extra="ignore", frozen=True, hide_input_in_errors=True, validate_default=True
    )

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        names = {field.upper() for field in cls.model_fields}
        if clash := sorted(name for name in names if name + FILE_SUFFIX in names):
            raise TypeError(
                f"{clash[0]}{FILE_SUFFIX} would mean two things: a setting, and the file of {clash[0]}"
            )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        # The environment is an argument of load(); a constructor reads nothing behind one's back.
        return (init_settings,)

    @classmethod
    def load(cls, environ: Mapping[str, str], env_file: Path | None = None) -> Self:
        """Read every setting. A missing `env_file` counts as an empty one. Raises SettingsError."""
        from_file, problems = _read_env_file(env_file)
        values: dict[str, str] = {}
        for source in (from_file, environ):
            found, more = _collect(source, cls.model_fields)
            values |= found
            problems += more
        if not problems:
            try:
                return cls.model_validate(values)
            except ValidationError as error:
                problems = [_from_validation(details) for details in error.errors()]
        else:
            problems += _other_problems(cls, values, {problem.field for problem in problems})
        raise SettingsError(problem.sentence for problem in problems)


@dataclass(frozen=True)
class _Problem:
    field: str | None
    sentence: str


def _other_problems(
    cls: type[ServiceSettings], values: dict[str, str], known: set[str | None]
) -> list[_Problem]:
    """What else is wrong, so that nobody has to start a service once per mistake."""
    try:
        cls.model_validate(values)
    except ValidationError as error:
        found = [_from_validation(details) for details in error.errors()]
        # A rule over several fields says little while one of them could not be read at all.
        return [problem for problem in found if problem.field is not None and problem.field not in known]
    return []


def _collect(source: Mapping[str, str], fields: Iterable[str]) -> tuple[dict[str, str], list[_Problem]]:
    """The values that one source gives, by field; those in files are read."""
    values: dict[str, str] = {}
    problems: list[_Problem] = []
    for field in fields:
        name = field.upper()
        value, path = source.get(name, ""), source.get(name + FILE_SUFFIX, "")
        if value and path:
            problems.append(
                _Problem(field, f"{name} and {name}{FILE_SUFFIX} are both set: keep one of them.")
            )
        elif value:
            values[field] = value
        elif path:
            try:
                values[field] = _read_value(Path(path))
            except ValueError as error:
                problems.append(_Problem(field, f"{name}{FILE_SUFFIX} names {path}, {error}."))
    return values, problems


def _read_value(path: Path) -> str:
    """The value in a file. Raises ValueError with the end of a sentence that begins with the path."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_VALUE_BYTES + 1)
    except OSError as error:
        raise ValueError(f"which cannot be read ({error.strerror})") from error
    if len(content) > MAX_VALUE_BYTES:
        raise ValueError(f"which is larger than {MAX_VALUE_BYTES} bytes")
    try:
        value = content.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError as error:
        raise ValueError("which is not UTF-8 text") from error
    if not value:
        raise ValueError("which is empty")
    return value


def _read_env_file(path: Path | None) -> tuple[dict[str, str], list[_Problem]]:
    """The names and values of a `.env` file, as they stand: `$` has no meaning in them."""
    if path is None or not path.exists():
        return {}, []
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        return {}, [_Problem(None, f"{path} cannot be read ({error.strerror}).")]
    except UnicodeDecodeError:
        return {}, [_Problem(None, f"{path} is not UTF-8 text.")]
    values: dict[str, str] = {}
    problems = []
    for binding in parse_stream(io.StringIO(text)):
        if binding.error:
            line = binding.original.line
            problems.append(_Problem(None, f"{path}, line {line}: expected NAME=value."))
        elif binding.key is not None:
            values[binding.key] = binding.value or ""
    return values, problems


def _from_validation(details: ErrorDetails) -> _Problem:
    message = details["msg"].removeprefix("Value error, ").rstrip(".")
    if not details["loc"]:
        return _Problem(None, f"{message}.")
    field = str(details["loc"][0])
    name = field.upper()
    if details["type"] == "missing":
        sentence = (
            f"{name} is missing: set it, or set {name}{FILE_SUFFIX} to the path of a file that holds it."
        )
    else:
        sentence = f"{name}: {message[:1].lower()}{message[1:]}."
    return _Problem(field, sentence)
