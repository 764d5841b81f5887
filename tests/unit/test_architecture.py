"""The map of the code (style guide, section 3), held.

Every module of poolmgr/ is parsed, never imported. A room's entry in ROOMS names what else of poolmgr it may
import; OWNED says which room each foreign library, and each dangerous thing of the standard library, belongs to.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EVERYTHING = ("poolmgr",)

#: What a room may import of poolmgr, beside itself, `errors` and (but for those in WITHOUT_MODEL) `model`.
ROOMS: dict[str, tuple[str, ...]] = {
    "errors": (),
    "model": (),
    "config": (),
    "policy": ("config.settings",),
    "runtime": (),
    "observe": ("runtime",),
    "store": ("runtime", "observe"),
    "cloud": ("config.settings", "runtime", "observe"),
    # The front door for other programs: like wiring it picks real parts, and it judges by the rules of launchers.
    "cloud.library": ("config", "policy", "runtime", "observe"),
    # A builder's hand on servers: made and removed as the library does it.
    "cloud.canary": ("config", "policy", "runtime", "observe"),
    "cloud.simulated": ("config.settings", "runtime", "observe", "simcloud.world"),
    "simcloud": (),
    "launcher": ("config.settings", "policy", "runtime", "observe", "store.api", "cloud.api"),
    "builder": ("config.settings", "policy", "runtime", "observe", "store.api", "cloud.api"),
    "web": ("config.settings", "policy", "runtime", "observe", "store.api"),
    "wiring": EVERYTHING,
    "cli": EVERYTHING,
}
WITHOUT_MODEL = {"errors", "runtime", "simcloud"}
NOBODY_IMPORTS = {"wiring": {"cli"}, "cli": set()}  # but those

#: Foreign libraries (by first part) and the rooms that may import them.
OWNED: dict[str, set[str]] = {
    "kazoo": {"store"},
    "keystoneauth1": {"cloud"},
    "requests": {"cloud"},
    "urllib3": {"cloud"},
    "paramiko": {"cloud", "simcloud"},
    "statsd": {"observe"},
    "prometheus_client": {"web"},
    "yaml": {"config", "simcloud"},
    "voluptuous": {"config"},
    "cronsim": {"config", "policy"},
    "starlette": {"web", "simcloud"},
    "uvicorn": {"web", "simcloud"},
    "h11": {"simcloud"},
    "rich": {"cli"},
    "prettytable": {"cli", "web"},
    # Of the standard library
    "subprocess": {"runtime"},
    "signal": {"runtime", "simcloud"},  # asyncio asks simcloud for numbers
    "time": {"runtime", "simcloud", "cli"},
    "multiprocessing": set(),
}
#: Threads are runtime's; these rooms have a library that demands one of its own.
STARTS_THREADS = {"runtime", "simcloud", "store"}
#: `except Exception` may stand at the top of a thread, a command or an HTTP request: in these files, so often.
BROAD_EXCEPTS = ("runtime/", "cli/", "simcloud/", "store/zookeeper", "launcher/", "cloud/")


@dataclass(frozen=True)
class Module:
    name: str  # below poolmgr, e.g. "cloud.openstack.session"; "" for poolmgr itself
    path: Path
    tree: ast.Module

    @property
    def room(self) -> str:
        """The longest name in ROOMS that holds it."""
        held = [room for room in ROOMS if self.name == room or self.name.startswith(room + ".")]
        return max(held, key=len, default="")


@cache
def modules() -> tuple[Module, ...]:
    found = []
    for path in sorted((ROOT / "poolmgr").rglob("*.py")):
        parts = path.relative_to(ROOT / "poolmgr").with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found.append(Module(name, path, ast.parse(path.read_text())))
    return tuple(found)


@cache
def imports(module: Module) -> tuple[tuple[str, int], ...]:
    """Every imported name with its line, absolute, as far down as the statement says."""
    return tuple(_imports(module))


def _imports(module: Module) -> Iterator[tuple[str, int]]:
    for statement in ast.walk(module.tree):
        match statement:
            case ast.Import(names=names):
                yield from ((alias.name, statement.lineno) for alias in names)
            case ast.ImportFrom(module=str(source), names=names, level=0):
                yield from ((f"{source}.{alias.name}", statement.lineno) for alias in names)
            case ast.ImportFrom(level=level) if level:
                yield (f"<relative import in {module.name}>", statement.lineno)


def within(name: str, rooms: tuple[str, ...] | set[str]) -> bool:
    return any(name == room or name.startswith(room + ".") for room in rooms)


def foreign_to(module: Module) -> Iterator[str]:
    """One complaint for each import of poolmgr that the module's room does not allow."""
    allowed = {module.room.split(".")[0], "errors", "__version__", *ROOMS[module.room]}
    if module.room not in WITHOUT_MODEL:
        allowed.add("model")
    if ROOMS[module.room] == EVERYTHING:
        return
    for name, line in imports(module):
        inside = name.removeprefix("poolmgr.")
        if name.split(".")[0] == "poolmgr" and not within(inside, allowed):
            yield f"{module.path.relative_to(ROOT)}:{line} imports {name}"


def test_every_module_is_in_a_room():
    assert [m.name for m in modules() if m.name and not m.room] == []


def test_rooms_import_only_what_the_map_allows():
    assert [complaint for m in modules() if m.room for complaint in foreign_to(m)] == []


def test_only_commands_and_other_programs_come_by_the_front_door():
    """`poolmgr.cloud` itself names it too, in a function: to import `poolmgr.cloud.api` must stay cheap."""
    complaints = [
        f"{m.path.relative_to(ROOT)}:{line} imports {name}"
        for m in modules()
        for name, line in imports(m)
        if within(name, ("poolmgr.cloud.library",))
        and m.room.split(".")[0] != "cli"
        and m.room not in ("cloud.library", "cloud.canary")
        and m.name != "cloud"
    ]
    assert complaints == []
    (package,) = [m for m in modules() if m.name == "cloud"]
    at_import = ast.Module([s for s in package.tree.body if not isinstance(s, ast.FunctionDef | ast.If)], [])
    light = [name for name, _ in _imports(Module("cloud", package.path, at_import))]
    assert light == ["__future__.annotations", "typing.TYPE_CHECKING", "typing.Any"]


def test_nobody_imports_what_joins_the_parts():
    complaints = [
        f"{m.path.relative_to(ROOT)}:{line} imports {name}"
        for m in modules()
        for name, line in imports(m)
        for room, friends in NOBODY_IMPORTS.items()
        if within(name, (f"poolmgr.{room}",)) and m.room.split(".")[0] not in {room, *friends}
    ]
    assert complaints == []


@pytest.mark.parametrize("library", OWNED)
def test_a_library_is_imported_only_by_its_owner(library):
    complaints = [
        f"{m.path.relative_to(ROOT)}:{line} imports {name}"
        for m in modules()
        for name, line in imports(m)
        if name.split(".")[0] == library and m.room.split(".")[0] not in OWNED[library]
    ]
    assert complaints == []


CALENDAR = ("policy.schedule", "datetime")  # cronsim counts in datetimes; the time comes by argument


def test_judging_does_no_io_and_reads_no_clock():
    never = {"time", "datetime", "logging", "os", "socket", "threading", "pathlib", "asyncio"}
    complaints = [
        f"{m.path.relative_to(ROOT)}:{line} imports {name}"
        for m in modules()
        if m.room in {"policy", "model"}
        for name, line in imports(m)
        if name.split(".")[0] in never and (m.name, name.split(".")[0]) != CALENDAR
    ]
    assert complaints == []


def test_threads_are_started_only_where_they_belong():
    complaints = [
        f"{m.path.relative_to(ROOT)}:{call.lineno}"
        for m in modules()
        if m.room.split(".")[0] not in STARTS_THREADS
        for call in ast.walk(m.tree)
        if isinstance(call, ast.Call)
        and ast.unparse(call.func) in {"threading.Thread", "Thread", "threading.Timer", "Timer"}
    ]
    assert complaints == []


def test_there_are_no_relative_imports():
    assert [name for m in modules() for name, _ in imports(m) if name.startswith("<")] == []


def test_no_import_cycles():
    names = {m.name for m in modules()}
    graph: dict[str, set[str]] = {}
    for m in modules():
        targets = {name.removeprefix("poolmgr.") for name, _ in imports(m) if name.startswith("poolmgr.")}
        # `from a import b` may mean the module a.b or the name b in a.
        found = {t if t in names else t.rpartition(".")[0] for t in targets}
        graph[m.name] = (found & names) - {m.name}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail("import cycle: " + " -> ".join(error.args[1]))


def test_broad_excepts_stand_only_where_a_thread_a_command_or_a_request_begins():
    complaints = [
        f"{m.path.relative_to(ROOT)}:{handler.lineno}"
        for m in modules()
        for handler in ast.walk(m.tree)
        if isinstance(handler, ast.ExceptHandler)
        and (handler.type is None or getattr(handler.type, "id", "") in {"Exception", "BaseException"})
        and not str(m.path.relative_to(ROOT / "poolmgr")).startswith(BROAD_EXCEPTS)
    ]
    assert complaints == []


def test_no_names_that_hold_anything():
    vague = {"utils", "util", "helpers", "manager", "base", "common", "misc"}
    assert [m.name for m in modules() if set(m.name.split(".")) & vague] == []


def test_the_rules_see_what_they_should():
    """The rules above pass on an empty tree too; here they meet a module that breaks them."""
    source = "import kazoo.client\nfrom poolmgr.store import zookeeper\nfrom poolmgr.cloud.api import Cloud\n"
    bad = Module("launcher.bad", ROOT / "poolmgr/launcher/bad.py", ast.parse(source))
    assert list(foreign_to(bad)) == ["poolmgr/launcher/bad.py:2 imports poolmgr.store.zookeeper"]
    assert ("kazoo.client", 1) in imports(bad)
    assert bad.room == "launcher"
    assert Module("cloud.simulated.cloud", bad.path, bad.tree).room == "cloud.simulated"
