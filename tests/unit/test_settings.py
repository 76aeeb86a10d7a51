"""Settings: file, environment, defaults, and every fault at once."""

from pathlib import Path

import pytest

from rekam.domain.errors import Misconfigured
from rekam.runtime.settings import ENVIRONMENT, Settings


def test_nothing_set_gives_the_defaults() -> None:
    settings = Settings.load({})
    assert settings.home == Path.home() / ".local/share/rekam"
    assert settings.registrar_key == settings.home / "keys/registrar.pub"
    assert (settings.kafka, settings.postgres, settings.pg_bin) == (None, None, None)
    assert (settings.port, settings.gateway_port) == (8080, 8081)
    assert settings.time_zone == "Asia/Makassar"
    assert settings.kafka_security.protocol == "PLAINTEXT"


def test_environment_overrides_the_file(tmp_path: Path) -> None:
    config = tmp_path / "rekam.toml"
    config.write_text(f'port = 9000\nhome = "{tmp_path}"\n')
    settings = Settings.load({"REKAM_PORT": "9001", "PATH": "/bin"}, config)
    assert settings.port == 9001
    assert settings.home == tmp_path


def test_every_fault_is_told_at_once_with_variable_value_and_what_is_wanted(
    tmp_path: Path,
) -> None:
    config = tmp_path / "rekam.toml"
    config.write_text('time_zone = "Mars/Olympus"\nprot = 1\n')
    secret = tmp_path / "password"
    secret.write_text("hush")
    secret.chmod(0o644)
    environ = {
        "REKAM_HOME": "relative",
        "REKAM_PORT": "70000",
        "REKAM_KAFKA": "no-port",
        "REKAM_POSTGRES": "postgresql://rekam:hush@db/rekam",
        "PG_BIN": str(tmp_path),
        "REKAM_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
        "REKAM_KAFKA_SECURITY_PASSWORD_FILE": str(secret),
        "REKAM_PROT": "1",
    }
    with pytest.raises(Misconfigured) as caught:
        Settings.load(environ, config)
    faults = caught.value.faults
    for part in (
        "REKAM_HOME='relative': wanted an absolute path",
        "REKAM_PORT='70000': wanted a port, 1 to 65535",
        "REKAM_KAFKA='no-port': wanted host:port",
        "REKAM_POSTGRES=(hidden): wanted no password in the value",
        f"PG_BIN='{tmp_path}': wanted a folder that holds postgres",
        "REKAM_KAFKA_SECURITY_USER is unset: wanted with SASL_SSL",
        "REKAM_KAFKA_SECURITY_PASSWORD_FILE=",
        "REKAM_PROT: no such setting",
        "time_zone (file)='Mars/Olympus': wanted a time zone",
        "prot (file): no such setting",
    ):
        assert sum(part in fault for fault in faults) == 1, part
    assert len(faults) == 10
    assert "hush" not in str(caught.value)


def test_one_port_for_two_servers_is_a_fault() -> None:
    with pytest.raises(Misconfigured, match="wanted another than REKAM_PORT"):
        Settings.load({"REKAM_PORT": "8081"})


@pytest.mark.parametrize("text", ["port = ", "\x00", "port = 1\nport = 2"])
def test_file_that_is_not_toml_is_a_fault(tmp_path: Path, text: str) -> None:
    config = tmp_path / "rekam.toml"
    config.write_text(text)
    with pytest.raises(Misconfigured, match="is not TOML"):
        Settings.load({}, config)


def test_missing_file_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="cannot be read"):
        Settings.load({}, tmp_path / "absent.toml")


def test_every_setting_has_a_variable_of_its_name() -> None:
    for name, variable in ENVIRONMENT.items():
        assert variable == ("PG_BIN" if name == "pg_bin" else f"REKAM_{name.upper()}")


def test_certificate_and_key_of_the_gateway_come_together(tmp_path: Path) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    certificate.touch()
    key.touch(mode=0o600)
    both = {"REKAM_GATEWAY_TLS_CERT": str(certificate), "REKAM_GATEWAY_TLS_KEY": str(key)}
    settings = Settings.load(both)
    assert (settings.gateway_tls_cert, settings.gateway_tls_key) == (certificate, key)
    for name, other in zip(both, reversed(both), strict=True):
        with pytest.raises(Misconfigured) as caught:
            Settings.load({name: both[name]})
        assert caught.value.faults == (f"{other} is unset: wanted with the other of the two",)


def test_key_of_the_gateway_that_others_may_read_is_the_one_fault(tmp_path: Path) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    certificate.touch()
    key.touch(mode=0o644)
    both = {"REKAM_GATEWAY_TLS_CERT": str(certificate), "REKAM_GATEWAY_TLS_KEY": str(key)}
    with pytest.raises(Misconfigured) as caught:
        Settings.load(both)
    (fault,) = caught.value.faults
    assert "only its owner may read" in fault
