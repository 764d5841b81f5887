"""Images as the verbs of `poolmgr cloud` print them."""

from __future__ import annotations

from collections.abc import Sequence

from poolmgr.cli.table import print_rows
from poolmgr.model.cloud_image import PROP_CALL, PROP_SHA256, CloudImage
from poolmgr.web.views import Column, Row, age_text, size_text

COLUMNS = (
    Column("id", "ID"),
    Column("name", "Name"),
    Column("status", "Status"),
    Column("disk_format", "Format"),
    Column("size_text", "Size"),
    Column("age", "Age"),
    Column("owner", "Owner"),
)


def image_row(image: CloudImage, *, now: float) -> Row:
    """`image` for printing. `now`: epoch seconds; `age` is "" where the cloud does not tell when it was made."""
    sums = {"md5": image.md5, "sha256": image.properties.get(PROP_SHA256, "")}
    if image.hash_algo:
        sums[image.hash_algo] = image.hash_value
    return {
        "id": image.id,
        "name": image.name,
        "status": image.status_text or image.status.value,
        "disk_format": image.disk_format,
        "size": image.size,
        **sums,
        "min_disk": image.min_disk_gib,
        "min_ram": image.min_ram_mib,
        "visibility": image.visibility,
        "protected": image.protected,
        "created_at": image.created_at,
        "age": "" if image.created_at is None else age_text(now - image.created_at),
        "owner": owner_text(image),
        "properties": dict(image.properties),
    }


def owner_text(image: CloudImage) -> str:
    """Who made it: this library, a builder, or, "", someone else."""
    if image.owner is not None:
        return f"upload {image.owner.upload} of build {image.owner.build}, {image.owner.provider}"
    return "library" if PROP_CALL in image.properties else ""


def print_images(rows: Sequence[Row], *, as_json: bool) -> None:
    """Rows of `image_row`, as a table or as a JSON array."""
    if not as_json:
        rows = [{**row, "size_text": "" if row["size"] is None else size_text(row["size"])} for row in rows]
    print_rows(rows, COLUMNS, as_json=as_json)


def image_lines(row: Row) -> list[str]:
    """One image, a line for each thing that is to be known of a new one."""
    told = ("id", "name", "status", "disk_format", "size", "md5", "sha256", "sha512")
    return [f"{name:<12} {row[name]}" for name in told if row.get(name)]
