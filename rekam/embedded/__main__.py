"""Fetch the broker's jars ahead of the first start: `python -m rekam.embedded`."""

import asyncio
import os
import sys

from rekam.domain.errors import RekamError
from rekam.embedded.kafka_jars import ensure_jars
from rekam.embedded.machine import require_commands
from rekam.runtime.settings import Settings


def main() -> int:
    """Make the cache of `REKAM_HOME` complete; quick when it is."""
    try:
        settings = Settings.load(os.environ)
        require_commands("java", "setpriv")
        asyncio.run(ensure_jars(settings.home / "cache", report=print))
    except RekamError as error:
        print(f"{error.code}: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
