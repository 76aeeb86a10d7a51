"""Everything that can be set: a TOML file, and `REKAM_…` variables that override it.

Read once, at a process's composition root. Secrets are files, never values.
"""

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from rekam.domain.errors import Misconfigured

T = TypeVar("T")

PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")


@dataclass(frozen=True, slots=True)
class KafkaSecurity:
    """How clients prove who they are to an existing cluster; the embedded one is loopback only."""

    protocol: str = "PLAINTEXT"
    ca: Path | None = None
    mechanism: str = "SCRAM-SHA-512"
    user: str | None = None
    password_file: Path | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings of a process; build it with `Settings.load`."""

    home: Path
    registrar_key: Path
    reader_keys: Path
    person_key: Path
    nik_key: Path
    api_token: Path
    receipt_key: Path
    snapshot_key: Path
    kafka: str | None = None
    postgres: str | None = None
    pg_bin: Path | None = None
    kafka_security: KafkaSecurity = field(default_factory=KafkaSecurity)
    port: int = 8080
    gateway_port: int = 8081
    gateway_tls_cert: Path | None = None
    gateway_tls_key: Path | None = None
    time_zone: str = "Asia/Makassar"
    registrar: str = "registrar"

    @classmethod
    def load(cls, environ: Mapping[str, str], config: Path | None = None) -> "Settings":
        """Return the settings from `config`, overridden by `environ`, and defaults for the rest.

        Raises Misconfigured with every fault at once: variable, value, what is wanted.
        """
        reading = _Reading(environ, config)
        home = reading.value("home", _path, Path.home() / ".local" / "share" / "rekam")
        keys = home / "keys"
        settings = cls(
            home=home,
            registrar_key=reading.value("registrar_key", _path, keys / "registrar.pub"),
            reader_keys=reading.value("reader_keys", _path, keys / "readers"),
            person_key=reading.value("person_key", _path, keys / "person.key"),
            nik_key=reading.value("nik_key", _path, keys / "nik.key"),
            api_token=reading.value("api_token", _path, keys / "api.token"),
            receipt_key=reading.value("receipt_key", _path, keys / "receipt.pem"),
            snapshot_key=reading.value("snapshot_key", _path, keys / "snapshot.pem"),
            kafka=reading.optional("kafka", _bootstrap),
            postgres=reading.optional("postgres", _dsn),
            pg_bin=reading.optional("pg_bin", _postgres_bin),
            kafka_security=KafkaSecurity(
                protocol=reading.value("kafka_security_protocol", _one_of(PROTOCOLS), "PLAINTEXT"),
                ca=reading.optional("kafka_security_ca", _file),
                mechanism=reading.value(
                    "kafka_security_mechanism", _one_of(MECHANISMS), "SCRAM-SHA-512"
                ),
                user=reading.optional("kafka_security_user", _text),
                password_file=reading.optional("kafka_security_password_file", _secret_file),
            ),
            port=reading.value("port", _port, 8080),
            gateway_port=reading.value("gateway_port", _port, 8081),
            gateway_tls_cert=reading.optional("gateway_tls_cert", _file),
            gateway_tls_key=reading.optional("gateway_tls_key", _secret_file),
            time_zone=reading.value("time_zone", _time_zone, "Asia/Makassar"),
            registrar=reading.value("registrar", _text, "registrar"),
        )
        reading.finish(settings)
        return settings


ENVIRONMENT: Final[Mapping[str, str]] = {
    **{
        name: f"REKAM_{name.upper()}"
        for name in (
            "home",
            "kafka",
            "postgres",
            "kafka_security_protocol",
            "kafka_security_ca",
            "kafka_security_mechanism",
            "kafka_security_user",
            "kafka_security_password_file",
            "port",
            "gateway_port",
            "gateway_tls_cert",
            "gateway_tls_key",
            "time_zone",
            "registrar",
            "registrar_key",
            "reader_keys",
            "person_key",
            "nik_key",
            "api_token",
            "receipt_key",
            "snapshot_key",
        )
    },
    # The name that other PostgreSQL tools already use.
    "pg_bin": "PG_BIN",
}
"""The environment variable of each name that the file may hold."""


class _Reading:
    """One pass over file and environment that collects every fault and raises once."""

    def __init__(self, environ: Mapping[str, str], config: Path | None) -> None:
        self._environ = environ
        self._faults: list[str] = []
        self._file: dict[str, object] = _read_file(config, self._faults)
        for name in sorted(self._file.keys() - ENVIRONMENT.keys()):
            self._faults.append(f"{name} (file): no such setting; remove it or correct its name")
        known = set(ENVIRONMENT.values())
        for variable in sorted(environ):
            if variable.startswith("REKAM_") and variable not in known:
                self._faults.append(f"{variable}: no such setting; unset it or correct its name")

    def value(self, name: str, parse: Callable[[str], T], default: T) -> T:
        """Return the parsed setting, or `default` when it is unset or at fault."""
        found = self.optional(name, parse)
        return default if found is None else found

    def optional(self, name: str, parse: Callable[[str], T]) -> T | None:
        """Return the parsed setting, or None when it is unset or at fault."""
        variable = ENVIRONMENT[name]
        if variable in self._environ:
            where, raw = variable, self._environ[variable]
        elif name in self._file:
            where, raw = f"{name} (file)", _as_text(self._file[name])
        else:
            return None
        try:
            return parse(raw)
        except _Unwanted as error:
            self._faults.append(f"{where}={error.shown or repr(raw)}: wanted {error.wanted}")
            return None

    def finish(self, settings: Settings) -> None:
        """Check what only the settings together can tell, then raise if there was any fault."""
        security = settings.kafka_security
        if security.protocol.startswith("SASL"):
            for name, value in (("user", security.user), ("password_file", security.password_file)):
                variable = ENVIRONMENT[f"kafka_security_{name}"]
                if value is None and not any(variable in fault for fault in self._faults):
                    self._faults.append(f"{variable} is unset: wanted with {security.protocol}")
        if settings.port == settings.gateway_port:
            self._faults.append(
                f"REKAM_GATEWAY_PORT={settings.gateway_port}: wanted another than REKAM_PORT"
            )
        tls = {
            ENVIRONMENT[name]: getattr(settings, name)
            for name in ("gateway_tls_cert", "gateway_tls_key")
        }
        for variable, value in tls.items():
            is_alone = value is None and any(other is not None for other in tls.values())
            if is_alone and not any(variable in fault for fault in self._faults):
                self._faults.append(f"{variable} is unset: wanted with the other of the two")
        if self._faults:
            raise Misconfigured(self._faults)


class _Unwanted(Exception):  # noqa: N818 - never leaves this module
    def __init__(self, wanted: str, *, shown: str | None = None) -> None:
        super().__init__(wanted)
        self.wanted, self.shown = wanted, shown


def _read_file(config: Path | None, faults: list[str]) -> dict[str, object]:
    if config is None:
        return {}
    try:
        with config.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        faults.append(f"--config={config}: cannot be read ({error.strerror}); wanted a TOML file")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        faults.append(f"--config={config}: is not TOML ({error})")
    return {}


def _as_text(value: object) -> str:
    return str(value)


def _text(raw: str) -> str:
    if not raw.strip():
        raise _Unwanted("some text")
    return raw


def _path(raw: str) -> Path:
    path = Path(_text(raw)).expanduser()
    if not path.is_absolute():
        raise _Unwanted("an absolute path")
    return path


def _file(raw: str) -> Path:
    path = _path(raw)
    if not path.is_file():
        raise _Unwanted("an existing file")
    return path


def _secret_file(raw: str) -> Path:
    path = _file(raw)
    if path.stat().st_mode & 0o077:
        raise _Unwanted("a file that only its owner may read (chmod 600)")
    return path


def _postgres_bin(raw: str) -> Path:
    path = _path(raw)
    if not (path / "postgres").is_file() or not (path / "initdb").is_file():
        raise _Unwanted("a folder that holds postgres and initdb (PostgreSQL 15 or newer)")
    return path


def _port(raw: str) -> int:
    if not raw.isascii() or not raw.isdigit() or not 1 <= int(raw) <= 65535:  # noqa: PLR2004
        raise _Unwanted("a port, 1 to 65535")
    return int(raw)


def _time_zone(raw: str) -> str:
    try:
        ZoneInfo(raw)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise _Unwanted("a time zone of the IANA database, such as Asia/Jakarta") from error
    return raw


def _one_of(choices: tuple[str, ...]) -> Callable[[str], str]:
    def parse(raw: str) -> str:
        if raw not in choices:
            raise _Unwanted(f"one of {', '.join(choices)}")
        return raw

    return parse


def _bootstrap(raw: str) -> str:
    for server in raw.split(","):
        host, colon, port = server.strip().rpartition(":")
        if not host or not colon or not port.isascii() or not port.isdigit():
            raise _Unwanted("host:port, or several with commas between")
    return raw


def _dsn(raw: str) -> str:
    wanted = "postgresql://user@host:port/database?passfile=/path"
    try:
        parts = urlsplit(raw)
        secret = parts.password is not None or "password" in parse_qs(parts.query)
    except ValueError as error:
        raise _Unwanted(wanted, shown="(not a DSN)") from error
    if parts.scheme not in ("postgresql", "postgres"):
        raise _Unwanted(wanted, shown="(hidden: it may hold a password)")
    if secret:
        raise _Unwanted(f"no password in the value but a file: {wanted}", shown="(hidden)")
    return raw
