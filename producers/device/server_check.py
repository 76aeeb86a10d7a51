"""TLS to servers: chain, name and signature always; dates by what is known of the time.

One context serves all connections of a route, and each handshake asks anew what time it is: the
first contact may have told it meanwhile.
"""

import ssl
from pathlib import Path
from typing import Any, Final, Self, cast

from producers.device.known_time import CertificateMoment, CertificateTime, by_clock
from rekam.domain.errors import ServerDatesWrong

NOT_YET_VALID: Final = 9
EXPIRED: Final = 10
"""OpenSSL's X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED."""

_NO_CHECK_TIME: Final = ssl.VerifyFlags(0x200000)
"""OpenSSL's X509_V_FLAG_NO_CHECK_TIME, which Python's ssl has no name for."""


class _CheckedObject(ssl.SSLObject):
    """One side of a handshake, which ends with the dates when OpenSSL was told to skip them."""

    moment: CertificateMoment = "clock"

    def do_handshake(self) -> None:
        context = cast("ServerCheck", self.context)
        try:
            super().do_handshake()
            if isinstance(self.moment, int):
                self._check_dates(self.moment)
        except ssl.SSLCertVerificationError as error:
            context.refused_code = error.verify_code
            raise

    def _check_dates(self, moment_ms: int) -> None:
        # Public from Python 3.13 on. What leaves it is what OpenSSL built and verified.
        chain: list[Any] = self._sslobj.get_verified_chain()  # type: ignore[attr-defined]  # not in typeshed
        for certificate in chain:
            info = certificate.get_info()
            if moment_ms < ssl.cert_time_to_seconds(info["notBefore"]) * 1000:
                raise _refusal(NOT_YET_VALID, "certificate is not yet valid")
            if moment_ms > ssl.cert_time_to_seconds(info["notAfter"]) * 1000:
                raise _refusal(EXPIRED, "certificate has expired")


class ServerCheck(ssl.SSLContext):
    """A client's context that never skips chain, name or signature."""

    certificate_time: CertificateTime
    refused_code: int | None
    """OpenSSL's code of the last certificate that was refused; None since a later handshake began,
    or its owner has set it so."""

    @classmethod
    def by(cls, ca: Path | None, certificate_time: CertificateTime = by_clock) -> Self:
        """Trust the CAs in that file, or without one those of this system.

        Raises OSError (ssl.SSLError is one) when the file holds none that can be read.
        """
        made = cls(ssl.PROTOCOL_TLS_CLIENT)  # wants a certificate, and the server's name in it
        made.minimum_version = ssl.TLSVersion.TLSv1_2
        if ca is None:
            made.load_default_certs()
        else:
            made.load_verify_locations(cafile=str(ca))
        made.certificate_time = certificate_time
        made.refused_code = None
        made.sslobject_class = _CheckedObject
        return made

    def wrap_bio(self, *arguments: Any, **options: Any) -> ssl.SSLObject:
        """Begin a handshake; whether OpenSSL looks at dates is decided now."""
        self.refused_code = None
        moment = self.certificate_time()
        others = self.verify_flags & ~_NO_CHECK_TIME
        self.verify_flags = others if moment == "clock" else others | _NO_CHECK_TIME
        wrapped = cast("_CheckedObject", super().wrap_bio(*arguments, **options))
        wrapped.moment = moment
        return wrapped


def dates_refused(server: str, code: int | None) -> ServerDatesWrong | None:
    """Return the error that says so when a certificate was refused for its dates alone."""
    if code not in (NOT_YET_VALID, EXPIRED):
        return None
    found = "is not valid yet" if code == NOT_YET_VALID else "has expired"
    return ServerDatesWrong(
        f"{server} shows a certificate that {found} by the time known here: this device's clock or "
        "the server's certificate is wrong. Nothing was sent and nothing is lost; set date and "
        "time of this device, and if they are right, have the server's certificate renewed"
    )


def _refusal(code: int, message: str) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, f"certificate verify failed: {message}")
    error.verify_code, error.verify_message = code, message
    return error
