"""The migrations of an older program, to see what a later one makes of its tables."""

import secrets
import shutil
from pathlib import Path

import pytest

from projections import migrations
from rekam.runtime.postgres import migrate


async def migrate_before(
    dsn: str, name: str, *, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Apply the migrations of the projections that come before one of them.

    `folder` holds a package of them, of a name of its own: Python keeps what it has imported.
    """
    package = folder / f"older_migrations_{secrets.token_hex(4)}"
    package.mkdir()
    (package / "__init__.py").touch()
    for path in Path(migrations.__file__).parent.glob("*.sql"):
        if path.name < name:
            shutil.copy(path, package)
    monkeypatch.syspath_prepend(str(folder))
    await migrate(dsn, package.name)
