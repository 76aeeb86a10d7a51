"""`rekam db`: the tables of the projections."""

import asyncio

import click

from rekam.domain.errors import ProblemFound
from rekam.runtime.endpoints import postgres_dsn
from rekam.runtime.invocation import settings_of
from rekam.runtime.postgres import migrate as apply_migrations
from rekam.runtime.postgres import migration_status

MIGRATIONS = "projections.migrations"


@click.group()
def db() -> None:
    """Bring the tables up to date, or say what is missing."""


@db.command()
@click.pass_context
def migrate(context: click.Context) -> None:
    """Apply what is pending, each migration in a transaction of its own."""
    applied = asyncio.run(apply_migrations(postgres_dsn(settings_of(context)), MIGRATIONS))
    for name in applied:
        click.echo(f"applied {name}")
    click.echo("the tables are up to date")


@db.command()
@click.pass_context
def status(context: click.Context) -> None:
    """Print every migration; exit 1 if one is pending."""
    found = asyncio.run(migration_status(postgres_dsn(settings_of(context)), MIGRATIONS))
    for name in found.applied:
        click.echo(f"applied  {name}")
    for name in found.pending:
        click.echo(f"pending  {name}")
    if found.pending:
        raise ProblemFound(f"{len(found.pending)} migrations are pending. Run: rekam db migrate")
