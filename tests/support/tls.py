"""A certificate authority of one test, and a server certificate for the loopback."""

import datetime as dt
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DAY = dt.timedelta(days=1)
NOW_VALID = (-DAY, 2 * DAY)
"""From when to when a certificate is valid, counted from now."""
NOT_YET_VALID = (DAY, 2 * DAY)
EXPIRED = (-2 * DAY, -DAY)
Validity = tuple[dt.timedelta, dt.timedelta]


@dataclass(frozen=True, slots=True)
class ServerCertificate:
    """PEM files: what the clients trust, and what the server shows."""

    ca: Path
    certificate: Path
    key: Path
    both: Path
    """Key and certificate in one file, as Kafka wants them."""


def make_certificate(
    folder: Path, *, valid: Validity = NOW_VALID, host: str | None = None
) -> ServerCertificate:
    """Write a fresh authority and a certificate of it for a host, or localhost and 127.0.0.1."""
    folder.mkdir(parents=True, exist_ok=True)
    authority_key = ec.generate_private_key(ec.SECP256R1())
    authority = _certificate(
        "test authority", authority_key, issuer="test authority", signer=authority_key, is_ca=True
    )
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _certificate(
        "localhost",
        key,
        issuer="test authority",
        signer=authority_key,
        is_ca=False,
        valid=valid,
        host=host,
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    shown = certificate.public_bytes(serialization.Encoding.PEM)
    made = ServerCertificate(
        ca=folder / "ca.pem",
        certificate=folder / "server.pem",
        key=folder / "server.key",
        both=folder / "server-both.pem",
    )
    made.ca.write_bytes(authority.public_bytes(serialization.Encoding.PEM))
    made.certificate.write_bytes(shown)
    made.key.touch(mode=0o600)
    made.key.write_bytes(secret)
    made.both.write_bytes(secret + shown)
    return made


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    *,
    issuer: str,
    signer: ec.EllipticCurvePrivateKey,
    is_ca: bool,
    valid: Validity = NOW_VALID,
    host: str | None = None,
) -> x509.Certificate:
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + valid[0])
        .not_valid_after(now + valid[1])
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()),
            critical=False,
        )
    )
    if not is_ca:
        loopback = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        names = [x509.DNSName("localhost"), loopback] if host is None else [x509.DNSName(host)]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(signer, hashes.SHA256())
