"""`poolmgr alien-image-list`: images in the clouds that nothing here knows of, and their end."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace

from poolmgr.cli import session
from poolmgr.cli.commandline import Subcommands, add_command, add_json
from poolmgr.cli.image.alien_hunt import Alien, Hunt
from poolmgr.cli.person import confirm, counted, did_you_mean
from poolmgr.cli.table import ask_about, print_rows
from poolmgr.config.settings import OpenStackProvider, Settings
from poolmgr.errors import Refused
from poolmgr.web.views import Column, size_text

DESCRIPTION = """\
List the images in the providers' projects that carry a build id and that no ready upload here names: what crashes,
removed records and other installations have left. All providers of the configuration are asked, or PROVIDER.

  poolmgr alien-image-list
  poolmgr alien-image-list rax-dfw --detail
  poolmgr alien-image-list rax-dfw --delete

--delete shows what would go, asks, looks at the cloud and the records again, and deletes what is still alien and
nobody's: never an image of another deployment or, for one that Nodepool made, of another provider, none that any
record names, that nodes boot from, or that is protected. The column Stays says so. --yes does not ask.

A provider that cannot be reached is told, the others are gone through. Exit code 1: one could not be, or an image that
was to go could not be deleted.
"""

COLUMNS = (Column("provider", "Provider"), Column("name", "Name"), Column("id", "Image ID"))
DETAIL_COLUMNS = (
    *COLUMNS,
    Column("build_id", "Build ID"),
    Column("upload_id", "Upload ID"),
    Column("status", "Status"),
    Column("size", "Size", lambda row, _: "" if row["size"] is None else size_text(row["size"])),
    Column("stays", "Stays"),
)
DELETE_COLUMNS = (*COLUMNS, Column("stays", "Stays"))
RESULT_COLUMNS = (*COLUMNS, Column("result", "Result"))


def add_to(commands: Subcommands) -> None:
    parser = add_command(
        commands, "alien-image-list", run, summary="show cloud images without record", description=DESCRIPTION
    )
    parser.add_argument("provider", metavar="PROVIDER", nargs="?", help="only this one")
    parser.add_argument("--detail", action="store_true", help="more columns (JSON always has all)")
    parser.add_argument("--delete", action="store_true", help="delete those that may go")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    settings = chosen_providers(session.load_settings(args), args.provider)
    with session.opened(args, settings) as store:
        from poolmgr import wiring

        hunt = Hunt(store, wiring.open_image_clouds(settings, os.environ, deployment=store.deployment()))
        found = hunt.look()
        if args.delete:
            found = _delete(hunt, found, args)
    columns = RESULT_COLUMNS if args.delete else DETAIL_COLUMNS if args.detail else COLUMNS
    print_rows([alien.row() for alien in found], columns, as_json=args.json)
    return 1 if hunt.trouble or any(alien.failed for alien in found) else 0


def chosen_providers(settings: Settings, name: str | None) -> Settings:
    """The settings with this openstack provider only. Raises Refused when there is none of that name."""
    clouds = {n: p for n, p in settings.providers.items() if isinstance(p, OpenStackProvider)}
    if name is None:
        return settings
    if name not in clouds:
        raise Refused(f"there is no openstack provider {name}", remedy=did_you_mean(name, clouds))
    return replace(settings, providers={name: clouds[name]})


def _delete(hunt: Hunt, found: list[Alien], args: argparse.Namespace) -> list[Alien]:
    chosen = [alien for alien in found if alien.keep is None]
    if not chosen:
        print("nothing here may be deleted" if found else "there are no alien images", file=sys.stderr)
        return [alien.kept() for alien in found]
    if not args.yes:
        ask_about([alien.row() for alien in found], DELETE_COLUMNS)
        stay = len(found) - len(chosen)
        rest = f", {stay} stay" if stay else ""
        confirm(len(chosen), f"{counted(len(chosen), 'image')} will be deleted{rest}", yes=False)
    return hunt.delete(chosen) + [alien.kept() for alien in found if alien.keep is not None]
