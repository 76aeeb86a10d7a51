"""A real broker whose clients must show a password over TLS, as a regency's cluster wants it."""

import asyncio
import os
from pathlib import Path

from rekam.embedded.kafka import EmbeddedKafka
from rekam.embedded.kafka_jars import jars_folder
from rekam.runtime.settings import KafkaSecurity, Settings
from tests.support.machine import free_port
from tests.support.tls import ServerCertificate

USER = "recorder"
PASSWORD = "only-a-test"  # noqa: S105 - of a broker that lives for one test


class SecuredKafka(EmbeddedKafka):
    """An embedded broker with a further listener: SASL_SSL, SCRAM-SHA-512."""

    def __init__(self, *, state_dir: Path, certificate: ServerCertificate) -> None:
        """Take a certificate for the loopback."""
        self._cache = Settings.load(os.environ).home / "cache"
        super().__init__(state_dir=state_dir, cache_dir=self._cache, report=print)
        self._certificate = certificate
        self._secured_port = free_port()

    @property
    def secured_bootstrap(self) -> str:
        """Return `host:port` of the listener that wants a password."""
        return f"127.0.0.1:{self._secured_port}"

    def properties(self, *, broker: int, controller: int) -> dict[str, str]:
        """Add the listener."""
        plain = super().properties(broker=broker, controller=controller)
        secured = f"SASL_SSL://127.0.0.1:{self._secured_port}"
        return plain | {
            "listeners": f"{plain['listeners']},{secured}",
            "advertised.listeners": f"{plain['advertised.listeners']},{secured}",
            "listener.security.protocol.map": (
                f"{plain['listener.security.protocol.map']},SASL_SSL:SASL_SSL"
            ),
            "sasl.enabled.mechanisms": "SCRAM-SHA-512",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(self._certificate.both),
            "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config": (
                "org.apache.kafka.common.security.scram.ScramLoginModule required;"
            ),
        }

    async def add_user(self) -> None:
        """Let USER in with PASSWORD; return when the broker knows it."""
        process = await asyncio.create_subprocess_exec(
            *("java", "-Xmx128m", "-cp", f"{jars_folder(self._cache)}/*"),
            *("kafka.admin.ConfigCommand", "--bootstrap-server", self.bootstrap, "--alter"),
            *("--entity-type", "users", "--entity-name", USER),
            *("--add-config", f"SCRAM-SHA-512=[iterations=4096,password={PASSWORD}]"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        assert process.returncode == 0, output.decode()


def security(certificate: ServerCertificate, password: Path) -> KafkaSecurity:
    """Return what a client needs to be let in."""
    return KafkaSecurity(
        protocol="SASL_SSL",
        ca=certificate.ca,
        mechanism="SCRAM-SHA-512",
        user=USER,
        password_file=password,
    )
