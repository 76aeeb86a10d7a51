"""What processor, replay and audit take from the settings: the keys and rules of every fold."""

from projections.rules import Rules
from rekam.domain.clocks import OfficeZone
from rekam.domain.keys import VerifyKey
from rekam.runtime.keyring import load_nik_key, load_person_key, load_readers, load_registrar_key
from rekam.runtime.settings import Settings
from stream_processors.intake import Opener


def folding_settings(settings: Settings) -> tuple[Rules, VerifyKey, Opener]:
    """Return rules, trust root and opener. Raises Misconfigured when a key file cannot serve."""
    root = load_registrar_key(settings)
    rules = Rules(
        zone=OfficeZone(settings.time_zone),
        registrar=settings.registrar,
        person_key=load_person_key(settings),
        nik_key=load_nik_key(settings),
    )
    opener = Opener(rules=rules, registrar_key=root, readers=load_readers(settings))
    return rules, root, opener
