"""Typed settings from the environment, a `.env` file, or files that hold one value each.

All services of an installation read the same `.env`, so a name may be meant for one of them only: see
`ServiceSettings.prefix`.
"""

import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

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

    A service with a `prefix` takes each setting as `PREFIX_NAME`, too, and that goes before `NAME` wherever
    both stand: `LOG_LEVEL` is said to all services, `TELEGRAM_LOG_LEVEL` to one. The fields in `own` cannot
    be said to all: `DATABASE_URL` in a `.env` that all share is another service's. They are read from that
    file as `PREFIX_NAME` only; the environment of a process, or of a container, is its own, and the plain
    name works there. A field that begins with the prefix has no second name.

    An empty `NAME=` means "not set", as it stands in `.env.example`. Names that belong to no field
    are ignored: an environment is full of them. Type secrets as `SecretStr`, which no repr shows.
    """

    prefix: ClassVar[str] = ""
    """Tells this service's names from those of others; without the underscore. Empty: no second names."""
    own: ClassVar[frozenset[str]] = frozenset()
    """Fields whose plain name in a shared `.env` is not meant for this service."""

    # hide_input_in_errors: a secret that is refused must not reach a log either.
    model_config = SettingsConfigDict(
        extra="ignore", frozen=True, hide_input_in_errors=True, validate_default=True
    )

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        names = {name for field in cls.model_fields for name in cls.names(field)}
        if len(names) < sum(len(cls.names(field)) for field in cls.model_fields):
            raise TypeError(f"two settings of {cls.__name__} share a name")
        if unknown := cls.own - cls.model_fields.keys():
            raise TypeError(f"own names fields that are not there: {sorted(unknown)}")
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
        in_file = {field: cls.names(field, shared=True) for field in cls.model_fields}
        found = _Found({}, {field: names[-1] for field, names in in_file.items()})
        problems += _collect(from_file, in_file, found)
        problems += _collect(environ, {field: cls.names(field) for field in cls.model_fields}, found)
        if not problems:
            try:
                return cls.model_validate(found.values)
            except ValidationError as error:
                problems = [_from_validation(details, found.names) for details in error.errors()]
        else:
            problems += _other_problems(cls, found, {problem.field for problem in problems})
        raise SettingsError(problem.sentence for problem in problems)

    @classmethod
    def names(cls, field: str, *, shared: bool = False) -> tuple[str, ...]:
        """What a field is called, the first one going before the second.

        Args:
            shared: in a file that other services read, too.
        """
        plain, prefix = field.upper(), f"{cls.prefix}_"
        if not cls.prefix or plain.startswith(prefix):
            return (plain,)
        return (prefix + plain,) if shared and field in cls.own else (prefix + plain, plain)


def is_set(name: str, environ: Mapping[str, str], env_file: Path | None = None) -> bool:
    """Whether a setting has a value under this name, or a file that holds one; nothing is read from there."""
    from_file, _ = _read_env_file(env_file)
    return any(source.get(key) for source in (environ, from_file) for key in (name, name + FILE_SUFFIX))


@dataclass(frozen=True, slots=True)
class _Found:
    """What the sources gave, by field."""

    values: dict[str, str]
    names: dict[str, str]
    """Under which name; where nothing was found, the one to be told."""


@dataclass(frozen=True, slots=True)
class _Problem:
    field: str | None
    sentence: str


def _other_problems(cls: type[ServiceSettings], given: _Found, known: set[str | None]) -> list[_Problem]:
    """What else is wrong, so that nobody has to start a service once per mistake."""
    try:
        cls.model_validate(given.values)
    except ValidationError as error:
        found = [_from_validation(details, given.names) for details in error.errors()]
        # A rule over several fields says little while one of them could not be read at all.
        return [problem for problem in found if problem.field is not None and problem.field not in known]
    return []


def _collect(
    source: Mapping[str, str], fields: Mapping[str, tuple[str, ...]], found: _Found
) -> list[_Problem]:
    """Add the values that one source gives, over those before; those in files are read."""
    problems: list[_Problem] = []
    for field, names in fields.items():
        for name in names:
            value, path = source.get(name, ""), source.get(name + FILE_SUFFIX, "")
            if not value and not path:
                continue
            found.names[field] = name
            if value and path:
                problems.append(
                    _Problem(field, f"{name} and {name}{FILE_SUFFIX} are both set: keep one of them.")
                )
            elif value:
                found.values[field] = value
            else:
                try:
                    found.values[field] = _read_value(Path(path))
                except ValueError as error:
                    problems.append(_Problem(field, f"{name}{FILE_SUFFIX} names {path}, {error}."))
            break
    return problems


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


def _from_validation(details: ErrorDetails, names: Mapping[str, str]) -> _Problem:
    message = details["msg"].removeprefix("Value error, ").rstrip(".")
    if not details["loc"]:
        return _Problem(None, f"{message}.")
    field = str(details["loc"][0])
    name = names[field]
    if details["type"] == "missing":
        sentence = (
            f"{name} is missing: set it, or set {name}{FILE_SUFFIX} to the path of a file that holds it."
        )
    else:
        sentence = f"{name}: {message[:1].lower()}{message[1:]}."
    return _Problem(field, sentence)
