"""Whether the names in a file mean something: duplicates, and names of things defined elsewhere.

Works on sections whose shape has been checked, so a section with a wrong key still has its names looked at.
Nothing is returned: findings go to the documents they are about.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from poolmgr.config.formats import is_dib
from poolmgr.config.inheritance import check_parents, effective, lineage
from poolmgr.config.problem import did_you_mean
from poolmgr.config.shape import Part, Spot

Clouds = Mapping[str, tuple[str, ...]]  # cloud -> its regions, () when it does not list any


def by_name(parts: Iterable[Part]) -> dict[str, Part]:
    """`parts` by name. Of several with one name the last counts, as in the reference."""
    return {part.name: part for part in parts if part.name is not None}


def check_references(main: Part, secure: Part | None) -> None:
    """Report every name in `main` and the secure file that is used twice or not defined."""
    _check_duplicates(main)
    labels = by_name(main.parts("labels"))
    images = by_name(main.parts("diskimages"))
    check_parents(images)
    _check_validations(main, images)
    for provider in main.parts("providers"):
        _check_provider(provider, labels, images)
    _check_static_nodes(main)
    if secure is not None:
        _check_secrets(secure, images)


def _check_duplicates(main: Part) -> None:
    _unique(main.parts("labels"), "label")
    _unique(main.parts("diskimages"), "disk image", refused=True)
    _unique(main.parts("tenant-resource-limits"), "tenant", key="tenant-name")
    _unique(main.parts("providers"), "provider")
    for provider in main.parts("providers"):
        _unique(provider.parts("diskimages"), "disk image of the provider")
        _unique(provider.parts("cloud-images"), "cloud image")
        _unique(provider.parts("pools"), "pool")
        for pool in provider.parts("pools"):
            _unique(pool.parts("labels"), "label of the pool")


def _unique(parts: Iterable[Part], what: str, *, key: str = "name", refused: bool = False) -> None:
    first: dict[str, Part] = {}
    for part in parts:
        name = part.get(key)
        if name is None or first.setdefault(name, part) is part:
            continue
        say = part.at(key).error if refused else part.at(key).doubt
        hint = "" if refused else "; only the last one counts"
        say(f"the {what} is defined twice", hint=f"line {_line(first[name].at(key))} has it already{hint}")


def _line(spot: Spot) -> int:
    return spot.document.place(spot.path).line


def _check_provider(provider: Part, labels: Mapping[str, Part], images: Mapping[str, Part]) -> None:
    for image in provider.parts("diskimages"):
        _check_image(image, "name", images)
    for pool in provider.parts("pools"):
        for label in pool.parts("labels"):
            _defined(label, "name", labels, "label", "a top-level label")
            _check_boot_image(label, provider, images)
        for node in pool.parts("nodes"):
            _check_node_labels(node, labels)


def _defined(part: Part, key: str, known: Mapping[str, Part], what: str, allowed: str) -> bool:
    name = part.get(key)
    if name is None or name in known:
        return name is not None
    part.at(key).error(f"the {what} is not defined", allowed=allowed, hint=did_you_mean(name, known))
    return False


def _check_image(part: Part, key: str, images: Mapping[str, Part]) -> bool:
    if not _defined(part, key, images, "disk image", "a top-level disk image"):
        return False
    if images[part[key]].get("abstract"):
        part.at(key).error(
            "the disk image is abstract, so there is nothing to boot", allowed="an image that is built"
        )
        return False
    return True


def _check_boot_image(label: Part, provider: Part, images: Mapping[str, Part]) -> None:
    cloud_images = by_name(provider.parts("cloud-images"))
    _defined(label, "cloud-image", cloud_images, "cloud image", "one of the provider's cloud-images")
    if "diskimage" not in label or not _check_image(label, "diskimage", images):
        return
    if label["diskimage"] not in by_name(provider.parts("diskimages")):
        label.at("diskimage").doubt(
            "the provider does not list the disk image",
            hint="nobody uploads it there because of this file; add it to the provider's diskimages",
        )


def _check_validations(main: Part, images: Mapping[str, Part]) -> None:
    """Whether each provider that gets an image has the label by which its uploads are tried."""
    for name, image in images.items():
        validation = effective(lineage(image, images))["validate"]
        label = validation.get("label") if validation is not None else None
        if label is None or image.get("abstract"):
            continue
        for provider in main.parts("providers"):
            if name in by_name(provider.parts("diskimages")):
                _check_validation(name, validation, provider)


def _check_validation(image: str, validation: Part, provider: Part) -> None:
    offered = {label.name: label for pool in provider.parts("pools") for label in pool.parts("labels")}
    label = validation["label"]
    if label not in offered:
        validation.at("label").doubt(
            f"no pool of provider {provider.name} has the label, so uploads of {image} cannot be tried there",
            allowed=", ".join(sorted(str(name) for name in offered))
            or "none: the provider has no pool labels",
            hint=did_you_mean(label, [str(name) for name in offered])
            or "add the label to a pool of the provider in the builder's file: it names flavor, networks and key pair",
        )


def _check_node_labels(node: Part, labels: Mapping[str, Part]) -> None:
    for name in node.get("labels", ()):
        if name not in labels:
            node.at("labels").error(
                f"label {name!r} is not defined", allowed="top-level labels", hint=did_you_mean(name, labels)
            )


def _check_static_nodes(main: Part) -> None:
    first: dict[tuple[str, str, int], Part] = {}
    for node in static_nodes(main):
        identity = (str(node.name), node.get("username", "zuul"), node.get("connection-port", 22))
        if node.name is None or first.setdefault(identity, node) is node:
            continue
        node.at("name").error(
            "the static node is defined twice (name, username and connection-port are the same)",
            hint=f"line {_line(first[identity].at('name'))} has it already",
        )


def static_nodes(main: Part) -> Iterable[Part]:
    """The nodes of all static providers."""
    for provider in main.parts("providers"):
        for pool in provider.parts("pools"):
            yield from pool.parts("nodes")


def check_providers_clouds(main: Part, clouds: Clouds | None) -> None:
    """Whether clouds.yaml has the clouds and regions that providers name; None: there is no such file at hand."""
    users = [provider for provider in main.parts("providers") if "cloud" in provider]
    if clouds is None and users:
        main.at("providers").warning(
            "clouds and regions are not checked", found="", hint="there is no clouds.yaml at hand", key=True
        )
    for provider in users if clouds is not None else ():
        _check_cloud(provider, clouds or {})


def _check_cloud(provider: Part, clouds: Clouds) -> None:
    regions = clouds.get(provider["cloud"])
    if regions is None:
        provider.at("cloud").error(
            "clouds.yaml has no such cloud",
            allowed=", ".join(sorted(clouds)) or "none: it defines no cloud",
            hint=did_you_mean(provider["cloud"], clouds),
        )
    elif regions and provider.get("region-name") not in (None, *regions):
        provider.at("region-name").error(
            f"cloud {provider['cloud']} has no such region",
            allowed=", ".join(regions),
            hint=did_you_mean(provider["region-name"], regions),
        )


def check_builder(main: Part) -> None:
    """Report what a builder cannot do without, and a launcher can: its files name images that others build."""
    if "images-dir" not in main.given:
        main.spot.error(
            "'images-dir' is missing",
            found="",
            allowed="a directory of this builder alone, with room for its images",
            hint="add 'images-dir: /opt/poolmgr/images', say",
        )
    images = by_name(main.parts("diskimages"))
    if not any(not image.get("abstract") for image in images.values()):
        main.spot.warning("the file has no disk images", found="", hint="the builder will build nothing")
    listed = _listed(main)
    for name, image in images.items():
        if _makes_nothing(image, images) and (name in listed or image.get("formats")):
            image.at("name").warning(
                "there is nothing to build the image from",
                hint="give it 'elements'; an image that other builders build is listed by no provider here",
            )


def _listed(main: Part) -> set[str | None]:
    return {image.name for provider in main.parts("providers") for image in provider.parts("diskimages")}


def check_use(main: Part) -> None:
    """Warn about what `main`, which has no errors, defines and does not use; another launcher or builder may."""
    labels = by_name(main.parts("labels"))
    pools = [pool for provider in main.parts("providers") for pool in provider.parts("pools")]
    offered = {label.name for pool in pools for label in pool.parts("labels")}
    offered |= {name for node in static_nodes(main) for name in node.get("labels", ())}
    unused = sorted(labels.keys() - offered)
    if pools and unused:
        main.at("labels").warning(
            f"no pool in this file offers {', '.join(unused)}",
            found="",
            hint="right when another launcher does",
            key=True,
        )
    _check_built(main, by_name(main.parts("diskimages")))


def _check_built(main: Part, images: Mapping[str, Part]) -> None:
    listed = _listed(main)
    parents = {image.get("parent") for image in images.values()}
    for name, image in images.items():
        wanted = name in listed or name in parents or image.get("abstract") or image.get("formats")
        if image.get("elements") and not wanted:
            image.at("name").warning(
                "the image is never built", hint="no provider here lists it, and it has no formats"
            )


def _makes_nothing(image: Part, images: Mapping[str, Part]) -> bool:
    """diskimage-builder needs elements; another command may not."""
    values = effective(lineage(image, images))
    return is_dib(values["dib-cmd"]) and not values["elements"] and not image.get("abstract")


def _check_secrets(secure: Part, images: Mapping[str, Part]) -> None:
    for secrets in secure.parts("diskimages"):
        name = secrets.name
        if name is None:
            continue
        if name not in images:
            hint = did_you_mean(name, images)
            secrets.at("name").error(
                f"disk image {name!r} is not defined in the main file", found="", hint=hint
            )
        elif images[name].get("abstract"):
            hint = "secrets are not inherited: give them to the images that are built"
            secrets.at("name").error(f"disk image {name!r} is abstract", found="", hint=hint)
