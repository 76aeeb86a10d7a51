"""`rekam topics`: make a cluster equal to rekam/domain/topics.py, or say where it is not."""

import asyncio

import click

from rekam.domain.errors import ProblemFound
from rekam.domain.topics import ALL
from rekam.runtime.endpoints import kafka_bootstrap
from rekam.runtime.invocation import settings_of
from rekam.runtime.kafka import apply_topics, diff_topics


@click.group()
def topics() -> None:
    """Compare the cluster's topics with those that Rekam needs, or put them right."""


@topics.command()
@click.pass_context
def apply(context: click.Context) -> None:
    """Create and change topics until the cluster is right; deletes nothing."""
    settings = settings_of(context)
    changed = asyncio.run(apply_topics(kafka_bootstrap(settings), security=settings.kafka_security))
    for line in changed:
        click.echo(f"put right: {line}")
    click.echo(f"{len(ALL)} topics are as they should be")


@topics.command()
@click.pass_context
def diff(context: click.Context) -> None:
    """Print what is not right; exit 1 if anything is."""
    settings = settings_of(context)
    differences = asyncio.run(
        diff_topics(kafka_bootstrap(settings), security=settings.kafka_security)
    )
    for line in differences:
        click.echo(line)
    if differences:
        raise ProblemFound(f"{len(differences)} differences. Run: rekam topics apply")
    click.echo(f"{len(ALL)} topics are as they should be")
