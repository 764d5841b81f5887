"""The command line itself: exit codes, help, errors (cli-web.md 1)."""

import argparse
import os

import pytest

import poolmgr
from poolmgr.cli import daemon, launcher, main, session
from poolmgr.errors import ConfigError, StoreUnavailable

EXISTING_VERBS = ("config-validate", "list", "request-list", "info", "hold", "delete")
IMAGE_VERBS = (
    "dib-image-list", "image-list", "image-status", "dib-request-list", "image-build", "image-pause", "image-unpause",
    "dib-image-delete", "image-delete", "alien-image-list", "export-image-data", "import-image-data",
)  # fmt: skip
COMMANDS = (*EXISTING_VERBS, *IMAGE_VERBS, "request", "provider", "cloud", "simcloud", "demo")


@pytest.fixture(autouse=True)
def quiet_logging(monkeypatch):
    monkeypatch.setattr(main.logs, "for_command", lambda **_: None)


def run_with(monkeypatch, error):
    def fail(args):
        raise error

    monkeypatch.setattr(session, "opened", fail)
    return main.main(["list"])


def test_without_a_command_help_is_shown_and_the_exit_code_is_1(capsys):
    assert main.main([]) == 1
    assert "COMMAND" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["no-such-command"], ["list", "--no-such-option"], ["hold"]])
def test_a_wrong_command_line_exits_with_2(arguments):
    with pytest.raises(SystemExit) as error:
        main.main(arguments)
    assert error.value.code == 2


def test_version_is_told_as_scripts_know_it(capsys):
    with pytest.raises(SystemExit) as error:
        main.main(["--version"])
    assert error.value.code == 0
    assert capsys.readouterr().out == f"Nodepool version: {poolmgr.__version__}\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_with_an_example(command, capsys):
    with pytest.raises(SystemExit) as error:
        main.main([command, "--help"])
    assert error.value.code == 0
    assert f"\n  poolmgr {'-c' if command == 'config-validate' else command}" in capsys.readouterr().out


def test_every_line_of_help_fits_a_terminal(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    for command in COMMANDS:
        with pytest.raises(SystemExit):
            main.main([command, "--help"])
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 120


def test_a_store_that_is_away_is_one_line_and_exit_code_1(monkeypatch, capsys):
    assert run_with(monkeypatch, StoreUnavailable("no answer")) == 1
    assert capsys.readouterr().err == "poolmgr: no answer\n"


def test_every_problem_of_a_configuration_is_told(monkeypatch, capsys):
    assert run_with(monkeypatch, ConfigError("x", ["one", "two"])) == 1
    assert capsys.readouterr().err == "one\ntwo\n"


def test_ctrl_c_is_quiet(monkeypatch, capsys):
    assert run_with(monkeypatch, KeyboardInterrupt()) == 130
    assert capsys.readouterr() == ("", "")


def test_a_bug_is_not_hidden(monkeypatch):
    with pytest.raises(ZeroDivisionError):
        run_with(monkeypatch, ZeroDivisionError())


def test_a_missing_configuration_is_told_by_name(capsys, tmp_path):
    assert main.main(["-c", str(tmp_path / "none.yaml"), "list"]) == 1
    assert "none.yaml" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["request", "a", "--priority", "900"],
        ["request", "a", "--priority", "-1"],
        ["request", "a", "--hold", "-1"],
        ["request", "a", "--hold", "nan"],
        ["request"],
        ["hold", "1", "--expires", "0"],
        ["demo", "--requests", "0"],
        ["demo", "--store", "etcd"],
    ],
)
def test_values_that_make_no_sense_are_refused(arguments, capsys):
    with pytest.raises(SystemExit) as error:
        main.main(arguments)
    assert error.value.code == 2


class DeadStore:
    """A store that never connects."""

    connected = False

    def start(self, *, stop):
        while not stop():
            pass


class Settings:
    class zookeeper:  # noqa: N801
        hosts = "zk1:2281"


class Ticking:
    now = 0.0

    def monotonic(self):
        self.now += 1.0
        return self.now


def test_the_wait_for_zookeeper_ends_and_says_what_to_look_at():
    with pytest.raises(StoreUnavailable, match=r"zk1:2281 within 10 seconds.*--connect-timeout"):
        session.connect(DeadStore(), Settings, Ticking(), 10.0)


def test_the_launcher_takes_the_options_of_the_reference():
    args = launcher.build_parser().parse_args(
        ["-c", "a", "-s", "b", "-l", "c", "-p", "d", "-f", "-d", "--no-webapp", "--stop-timeout", "5"]
    )
    assert args == argparse.Namespace(
        config="a", secure="b", logconfig="c", pidfile="d", foreground=True, debug=True, no_webapp=True,
        stop_timeout=5.0,
    )  # fmt: skip


def test_the_launcher_tells_a_broken_configuration_before_it_detaches(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(daemon, "detach", lambda: pytest.fail("detached"))
    file = tmp_path / "np.yaml"
    file.write_text("labels: 3\n")
    assert launcher.main(["-c", str(file)]) == 1
    assert "labels" in capsys.readouterr().err


def test_paths_survive_a_change_of_directory(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert daemon.absolute("np.yaml") == os.path.join(tmp_path, "np.yaml")
    assert daemon.absolute("~/np.yaml") == os.path.expanduser("~/np.yaml")
    assert daemon.absolute(None) is None
