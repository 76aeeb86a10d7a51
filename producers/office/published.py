"""What this office has published, and how a file would change it.

Beside its producers, an office keeps what it last stated of each version. So a dry run compares
without a server, and without the reader keys that its outbox is sealed to. What another office has
published is not in it.
"""

import hashlib
import secrets
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final, Literal, Self

import msgspec
from msgspec import structs

from producers.device.files import replace_file
from rekam.domain.errors import Corrupt
from rekam.domain.keys import write_secret
from rekam.runtime.settings import Settings

Kind = Literal["regions", "denominators", "cohort"]

SHOWN_MAX: Final = 10
_KEY_FILE: Final = "people.key"
_KEY_BYTES: Final = 32
_NAME_CHARACTERS: Final = 32


class Publication(msgspec.Struct, frozen=True, kw_only=True):
    """What was last stated of one version."""

    kind: Kind
    version: str
    cohort: str | None = None
    valid_from: date | None = None
    stated_ms: int
    figures: dict[str, str | int]
    """By region code or entry number: its name, its wajib, or a keyed digest of the entry."""
    is_split: bool = False
    """It was too large for an event: each regency has a version of its own, VERSION/64.08."""

    def version_of(self, regency: str) -> str:
        """Return the version by which reports know what is stated of a regency."""
        return f"{self.version}/{regency}" if self.is_split else self.version


@dataclass(frozen=True, slots=True)
class Difference:
    """How what is stated now differs from what was stated before, by key."""

    added: Sequence[str] = ()
    removed: Sequence[str] = ()
    changed: Sequence[str] = ()

    @classmethod
    def between(cls, before: Mapping[str, str | int], after: Mapping[str, str | int]) -> Self:
        """Compare two statements."""
        return cls(
            added=[key for key in after if key not in before],
            removed=[key for key in before if key not in after],
            changed=[key for key in after if key in before and after[key] != before[key]],
        )

    def __str__(self) -> str:
        parts = (("added", self.added), ("removed", self.removed), ("changed", self.changed))
        return ", ".join(f"{len(keys)} {word}{_shown(keys)}" for word, keys in parts)


def _shown(keys: Sequence[str]) -> str:
    if not keys:
        return ""
    more = len(keys) - SHOWN_MAX
    rest = f" and {more} more" if more > 0 else ""
    return f" ({', '.join(keys[:SHOWN_MAX])}{rest})"


@dataclass(frozen=True, slots=True)
class PublishedRecord:
    """The office's own record. One process at a time writes it: who states holds the outbox."""

    folder: Path

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return the record of an office."""
        return cls(settings.home / "office" / "published")

    def keep(self, publication: Publication) -> None:
        """Take note of a publication that is durable as events; durable when this returns.

        A crash between the two leaves the version before in the record, and so in dry runs. What
        was stated of other regencies under the same version stays, as it does in reports.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        regencies = {code[:5] for code in publication.figures}
        left: dict[Path, Publication] = {}
        for path in [] if publication.kind == "cohort" else self._files(publication.kind):
            before = self._read(path)
            if before.version_of("") != publication.version_of(""):
                continue
            others = {
                code: figure for code, figure in before.figures.items() if code[:5] not in regencies
            }
            if before.valid_from == publication.valid_from:
                publication = structs.replace(publication, figures=others | publication.figures)
                others = {}
            left[path] = structs.replace(before, figures=others)
        written = self._path(publication)
        replace_file(written, msgspec.json.encode(publication))
        for path, rest in left.items():
            if rest.figures:
                replace_file(path, msgspec.json.encode(rest))
            elif path != written:
                path.unlink()

    def publications(self, kind: Kind) -> list[Publication]:
        """Return what was published of a kind, each version of a first day once, oldest first.

        Raises Corrupt when a file of the record cannot be read.
        """
        found = [self._read(path) for path in self._files(kind)]
        return sorted(found, key=lambda one: (one.stated_ms, one.version))

    def of_regencies(
        self, kind: Kind, *, valid_from: date, codes: Iterable[str]
    ) -> dict[str, str | int]:
        """Return what holds by now in the regencies of these codes from a day on.

        Every regency has its own latest version that is valid then, as the reports have it.
        """
        regencies = {code[:5] for code in codes}
        by_regency: dict[str, dict[str, str | int]] = {}
        valid = [
            one
            for one in self.publications(kind)
            if one.valid_from is not None and one.valid_from <= valid_from
        ]
        for one in sorted(valid, key=lambda one: (one.valid_from, one.version_of(""))):
            parts: defaultdict[str, dict[str, str | int]] = defaultdict(dict)
            for code, figure in one.figures.items():
                parts[code[:5]][code] = figure
            by_regency |= {part: of for part, of in parts.items() if part in regencies}
        return {code: figure for of in by_regency.values() for code, figure in of.items()}

    def outdone_by(self, new: Publication) -> list[str]:
        """Return the versions that reports would go on using where `new` speaks, sorted.

        Of the versions of one regency with the same first day, the last one by name stands.
        """
        regencies = {code[:5] for code in new.figures}
        return sorted(
            {
                version
                for one in self.publications(new.kind)
                if one.valid_from == new.valid_from
                for regency in regencies & {code[:5] for code in one.figures}
                if (version := one.version_of(regency)) > new.version_of(regency)
            }
        )

    def moved_by(self, new: Publication) -> dict[str, date]:
        """Return the former first days of versions that `new` states again under another one.

        What is stated again of a version replaces it: it says nothing of the days before any more.
        """
        regencies = {code[:5] for code in new.figures}
        return {
            version: one.valid_from
            for one in self.publications(new.kind)
            if one.valid_from is not None and one.valid_from != new.valid_from
            for regency in sorted(regencies & {code[:5] for code in one.figures})
            if (version := one.version_of(regency)) == new.version_of(regency)
        }

    def of_cohort(self, cohort: str) -> Publication | None:
        """Return what was stated last of a list."""
        found = [one for one in self.publications("cohort") if one.cohort == cohort]
        return found[-1] if found else None

    def entries_kept(self, cohort: str, version: str, entries: Collection[int]) -> list[str]:
        """Return the entries that were stated of a version of a list and are not in `entries`."""
        told = {str(entry) for entry in entries}
        return [
            entry
            for one in self.publications("cohort")
            if (one.cohort, one.version) == (cohort, version)
            for entry in one.figures
            if entry not in told
        ]

    def person_digest(self, *parts: str | None) -> str:
        """Return what stands for an entry here, so that no NIK does.

        Keyed by a secret of this record: ten thousand million NIKs can be tried out otherwise.
        """
        path = self.folder / _KEY_FILE
        if not path.exists():
            write_secret(path, secrets.token_bytes(_KEY_BYTES))
        told = msgspec.json.encode(parts)
        return hashlib.blake2b(told, key=path.read_bytes(), digest_size=16).hexdigest()

    def _files(self, kind: Kind) -> list[Path]:
        return sorted(self.folder.glob(f"{kind}-*.json"))

    def _path(self, publication: Publication) -> Path:
        # What was stated in parts stands beside the same version as a whole, here as in reports.
        name: list[object] = [publication.cohort, publication.version_of("")]
        if publication.valid_from is not None:
            name.append(publication.valid_from)
        digest = hashlib.sha256(msgspec.json.encode(name)).hexdigest()[:_NAME_CHARACTERS]
        return self.folder / f"{publication.kind}-{digest}.json"

    def _read(self, path: Path) -> Publication:
        try:
            return msgspec.json.decode(path.read_bytes(), type=Publication)
        except msgspec.MsgspecError as error:
            raise Corrupt(
                f"{path} is damaged. Remove it: it serves dry runs alone, which then do not know "
                "this version"
            ) from error
