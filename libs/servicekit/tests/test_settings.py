import os
from pathlib import Path
from typing import ClassVar, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, SecretStr, model_validator

from servicekit.settings import MAX_VALUE_BYTES, ServiceSettings, SettingsError, is_set


class Settings(ServiceSettings):
    api_port: int = Field(8000, ge=1, le=65535)
    debug: bool = False
    log_level: Literal["info", "debug"] = "info"
    model_config_path: Path = Path("config/models.json")
    default_model: str | None = None
    api_key: SecretStr | None = None


class Required(ServiceSettings):
    token: SecretStr


class Related(ServiceSettings):
    lowest: int = 0
    highest: int = 10

    @model_validator(mode="after")
    def _in_order(self) -> "Related":
        if self.lowest > self.highest:
            raise ValueError("LOWEST is greater than HIGHEST.")
        return self


class OfTheBot(ServiceSettings):
    prefix: ClassVar[str] = "BOT"
    own: ClassVar[frozenset[str]] = frozenset({"database_url", "workers"})

    bot_token: SecretStr
    database_url: str = "sqlite:///bot.db"
    workers: int = 16
    log_level: Literal["info", "debug"] = "info"


def mistakes(cls: type[ServiceSettings], environ: dict[str, str], env_file: Path | None = None) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        cls.load(environ, env_file)
    return list(caught.value.lines)


def test_defaults() -> None:
    settings = Settings.load({}, None)
    assert settings.api_port == 8000
    assert settings.model_config_path == Path("config/models.json")


def test_values_come_typed_from_the_environment() -> None:
    settings = Settings.load(
        {"API_PORT": "9000", "DEBUG": "true", "MODEL_CONFIG_PATH": "m.json", "HOME": "/"}
    )
    assert (settings.api_port, settings.debug, settings.model_config_path) == (9000, True, Path("m.json"))


def test_the_real_environment_is_not_read_behind_the_argument(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_PORT", "1234")
    assert Settings.load({}).api_port == 8000
    assert Settings.load(os.environ).api_port == 1234


def test_the_environment_goes_before_the_env_file(tmp_path: Path) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text("# a comment\nexport API_PORT=9000\nDEFAULT_MODEL='neo demo'\nLOG_LEVEL=\n")
    settings = Settings.load({"API_PORT": "9001"}, env_file)
    assert (settings.api_port, settings.default_model, settings.log_level) == (9001, "neo demo", "info")


def test_a_missing_env_file_is_an_empty_one(tmp_path: Path) -> None:
    assert Settings.load({}, tmp_path / ".env") == Settings.load({})


def test_a_dollar_in_the_env_file_is_a_dollar(tmp_path: Path) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text("DEFAULT_MODEL=pa$word${HOME}\n")
    assert Settings.load({}, env_file).default_model == "pa$word${HOME}"


def test_a_broken_line_of_the_env_file_is_named(tmp_path: Path) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text("API_PORT=1\nnot a setting at all = 'open\nDEBUG=maybe\n")
    assert mistakes(Settings, {}, env_file) == [
        f"{env_file}, line 2: expected NAME=value.",
        "DEBUG: input should be a valid boolean, unable to interpret input.",
    ]


def test_an_env_file_of_another_encoding_is_refused(tmp_path: Path) -> None:
    env_file = tmp_path / ".env"
    env_file.write_bytes("DEFAULT_MODEL=modèle".encode("latin-1"))
    assert mistakes(Settings, {}, env_file) == [f"{env_file} is not UTF-8 text."]


def test_a_directory_is_no_env_file(tmp_path: Path) -> None:
    assert mistakes(Settings, {}, tmp_path) == [f"{tmp_path} cannot be read (Is a directory)."]


@pytest.mark.parametrize(
    ("content", "value"),
    [("key", "key"), ("key\n", "key"), ("key\r\n", "key"), ("key\n\n", "key\n"), (" key ", " key ")],
)
def test_a_value_may_lie_in_a_file(tmp_path: Path, content: str, value: str) -> None:
    path = tmp_path / "api_key"
    path.write_bytes(content.encode())
    settings = Settings.load({"API_KEY_FILE": str(path)})
    assert settings.api_key is not None
    assert settings.api_key.get_secret_value() == value


def test_the_env_file_may_name_a_file_and_the_environment_overrides_it(tmp_path: Path) -> None:
    (tmp_path / "port").write_text("9000\n")
    (tmp_path / ".env").write_text(f"API_PORT_FILE={tmp_path / 'port'}\n")
    assert Settings.load({}, tmp_path / ".env").api_port == 9000
    assert Settings.load({"API_PORT": "9001"}, tmp_path / ".env").api_port == 9001


@given(st.text(st.characters(codec="utf-8"), min_size=1).filter(lambda text: not text.endswith("\r")))
def test_what_is_written_to_a_file_is_read_back(tmp_path_factory: pytest.TempPathFactory, value: str) -> None:
    path = tmp_path_factory.mktemp("secret") / "value"
    path.write_bytes(f"{value}\n".encode())
    settings = Settings.load({"DEFAULT_MODEL_FILE": str(path)})
    assert settings.default_model == value


def test_both_ways_at_once_are_refused(tmp_path: Path) -> None:
    assert mistakes(Settings, {"API_KEY": "hunter2", "API_KEY_FILE": str(tmp_path / "gone")}) == [
        "API_KEY and API_KEY_FILE are both set: keep one of them."
    ]


def test_files_that_give_no_value_are_named(tmp_path: Path) -> None:
    empty, large, binary = tmp_path / "empty", tmp_path / "large", tmp_path / "binary"
    empty.write_text("\n")
    large.write_bytes(b"x" * (MAX_VALUE_BYTES + 1))
    binary.write_bytes(b"\xff\xfe")
    environ = {
        "API_PORT_FILE": str(tmp_path / "gone"),
        "DEBUG_FILE": str(tmp_path),
        "LOG_LEVEL_FILE": str(empty),
        "DEFAULT_MODEL_FILE": str(large),
        "API_KEY_FILE": str(binary),
    }
    assert mistakes(Settings, environ) == [
        f"API_PORT_FILE names {tmp_path / 'gone'}, which cannot be read (No such file or directory).",
        f"DEBUG_FILE names {tmp_path}, which cannot be read (Is a directory).",
        f"LOG_LEVEL_FILE names {empty}, which is empty.",
        f"DEFAULT_MODEL_FILE names {large}, which is larger than 65536 bytes.",
        f"API_KEY_FILE names {binary}, which is not UTF-8 text.",
    ]


def test_all_mistakes_are_reported_together(tmp_path: Path) -> None:
    environ = {
        "API_PORT": "70000",
        "DEBUG": "perhaps",
        "LOG_LEVEL": "loud",
        "API_KEY_FILE": str(tmp_path / "no"),
    }
    found = mistakes(Settings, environ)
    assert [line.split()[0].rstrip(":") for line in found] == [
        "API_KEY_FILE",
        "API_PORT",
        "DEBUG",
        "LOG_LEVEL",
    ]
    assert found[1] == "API_PORT: input should be less than or equal to 65535."


def test_a_required_setting_says_both_of_its_names() -> None:
    assert mistakes(Required, {}) == [
        "TOKEN is missing: set it, or set TOKEN_FILE to the path of a file that holds it."
    ]


def test_a_rule_over_several_settings_speaks_for_itself() -> None:
    assert mistakes(Related, {"LOWEST": "11"}) == ["LOWEST is greater than HIGHEST."]
    assert Related.load({"LOWEST": "11", "HIGHEST": "12"}).highest == 12


@given(st.text(st.characters(codec="utf-8"), min_size=6))
def test_a_secret_is_never_shown(value: str) -> None:
    assert value not in repr(Required.load({"TOKEN": value}).token)
    assert value not in str(Required.load({"TOKEN": value}))


@pytest.mark.parametrize("name", ["API_PORT", "DEBUG", "LOG_LEVEL"])
def test_a_refused_value_is_never_shown(name: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.load({name: "hunter2-misplaced"})
    assert "hunter2" not in str(caught.value)


def test_a_field_may_not_take_the_name_of_anothers_file() -> None:
    with pytest.raises(TypeError, match="LOG_FILE would mean two things"):

        class Ambiguous(ServiceSettings):
            log: str = ""
            log_file: str = ""


SHARED = "DATABASE_URL=sqlite:///core.db\nWORKERS=1\nLOG_LEVEL=debug\nBOT_TOKEN=t\n"


def test_in_a_shared_file_a_services_own_settings_have_its_prefix(tmp_path: Path) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text(SHARED)
    settings = OfTheBot.load({}, env_file)
    assert (settings.database_url, settings.workers, settings.log_level) == ("sqlite:///bot.db", 16, "debug")
    env_file.write_text(SHARED + "BOT_DATABASE_URL=sqlite:///b.db\nBOT_WORKERS=2\nBOT_LOG_LEVEL=info\n")
    settings = OfTheBot.load({}, env_file)
    assert (settings.database_url, settings.workers, settings.log_level) == ("sqlite:///b.db", 2, "info")


def test_in_its_own_environment_the_plain_name_works(tmp_path: Path) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text(SHARED + "BOT_WORKERS=2\n")
    settings = OfTheBot.load({"DATABASE_URL": "sqlite:///x.db", "WORKERS": "3"}, env_file)
    assert (settings.database_url, settings.workers) == ("sqlite:///x.db", 3)
    settings = OfTheBot.load({"WORKERS": "3", "BOT_WORKERS": "4", "BOT_TOKEN": "t"})
    assert settings.workers == 4


def test_a_prefixed_value_may_lie_in_a_file_and_goes_before_the_plain_one(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("sqlite:///secret.db\n")
    (tmp_path / ".env").write_text(f"{SHARED}BOT_DATABASE_URL_FILE={tmp_path / 'url'}\n")
    assert OfTheBot.load({}, tmp_path / ".env").database_url == "sqlite:///secret.db"


@pytest.mark.parametrize(
    ("environ", "sentence"),
    [
        ({"BOT_WORKERS": "many"}, "BOT_WORKERS: input should be a valid integer"),
        ({"WORKERS": "many"}, "WORKERS: input should be a valid integer"),
        ({"BOT_LOG_LEVEL": "loud"}, "BOT_LOG_LEVEL: input should be 'info' or 'debug'"),
        ({"BOT_WORKERS_FILE": "gone"}, "BOT_WORKERS_FILE names gone, which cannot be read"),
    ],
)
def test_a_mistake_is_told_under_the_name_that_was_used(environ: dict[str, str], sentence: str) -> None:
    (found,) = mistakes(OfTheBot, environ | {"BOT_TOKEN": "t"})
    assert found.startswith(sentence)


def test_what_is_missing_is_told_under_the_name_that_works_everywhere() -> None:
    class Needy(ServiceSettings):
        prefix: ClassVar[str] = "BOT"
        own: ClassVar[frozenset[str]] = frozenset({"database_url"})

        bot_token: str
        database_url: str
        secret: str

    found = mistakes(Needy, {})
    assert [line.split()[0] for line in found] == ["BOT_TOKEN", "BOT_DATABASE_URL", "SECRET"]


def test_no_two_settings_share_a_name() -> None:
    with pytest.raises(TypeError, match="share a name"):

        class Twice(ServiceSettings):
            prefix: ClassVar[str] = "BOT"
            bot_port: int = 1
            port: int = 2


def test_own_fields_exist() -> None:
    with pytest.raises(TypeError, match="workers"):

        class Missing(ServiceSettings):
            own: ClassVar[frozenset[str]] = frozenset({"workers"})


def test_whether_something_is_set(tmp_path: Path) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text("TOKEN=\nOTHER_FILE=/run/secrets/other\nEMPTY=\n")
    assert is_set("OTHER", {}, env_file)
    assert is_set("TOKEN", {"TOKEN": "t"}, env_file)
    assert is_set("TOKEN", {"TOKEN_FILE": "t"}, tmp_path / "gone")
    assert not is_set("TOKEN", {}, env_file)
    assert not is_set("EMPTY", {"EMPTY": ""}, env_file)
