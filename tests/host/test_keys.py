"""Who may talk: nodes with a key and nobody else, and a revoked key no longer."""

import json
import re
import signal
import stat
import subprocess

import pytest
from click.testing import CliRunner

from epi_protocol import PROTOCOL_VERSION
from epid.cli import main
from fakes.epid_serve import EPID, PATIENCE_S
from fakes.node import Node
from hookrun.errors import HookrunError
from hookrun.sending.node_key import read_node_key
from hookrun.sending.recording import Recording


def epid(*arguments):
    done = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert "Traceback" not in done.output
    return done.exit_code, done.output


@pytest.fixture
def locked(tmp_path):
    """A daemon with a ring of keys, the key file of one node, and the daemon's address."""
    ring, key = tmp_path / "keys", tmp_path / "pi0.key"
    assert epid("keys", "new", "pi0", "--keys", ring, "--out", key)[0] == 0
    where = ["--listen", "tcp://127.0.0.1:*", "--runs", str(tmp_path / "runs"), "--keys", str(ring)]
    command = [EPID, "serve", "--no-announce", *where]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    endpoint = re.search(r"tcp://\S+:\d+", process.stderr.readline())[0]
    yield ring, key, endpoint, process
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=PATIENCE_S)


def test_a_node_with_a_key_gets_in_and_the_daemons_person_too(locked):
    ring, key, endpoint, _process = locked
    node = Node(endpoint, key=json.loads(key.read_text()))
    assert node.wait_for("welcome")["protocol"] == PROTOCOL_VERSION
    node.close()
    code, output = epid("status", "--daemon", endpoint, "--keys", ring, "--json")
    assert code == 0 and json.loads(output)["endpoint"] == endpoint


def test_without_a_key_or_with_a_strange_one_nobody_gets_in(locked, tmp_path):
    _ring, key, endpoint, process = locked
    with pytest.raises(HookrunError, match="the daemon refuses: it asks for a key"):
        Recording(engine="test", daemon=endpoint)
    strange = tmp_path / "strange.key"
    epid("keys", "new", "pi0", "--keys", tmp_path / "other", "--out", strange)
    mixed = json.loads(strange.read_text()) | {"daemon": json.loads(key.read_text())["daemon"]}
    strange.write_text(json.dumps(mixed))
    with pytest.raises(HookrunError, match="this node's key is not known there"):
        Recording(engine="test", daemon=endpoint, key=read_node_key(strange))
    process.send_signal(signal.SIGTERM)
    assert "is not known; `epid keys new` makes one" in process.communicate(timeout=PATIENCE_S)[1]


def test_a_revoked_key_is_refused_from_the_next_connection_on(locked):
    ring, key, endpoint, _process = locked
    recording = Recording(engine="test", daemon=endpoint, key=read_node_key(key))
    recording.close()
    assert epid("keys", "revoke", "pi0", "--keys", ring)[0] == 0
    with pytest.raises(HookrunError, match="was it revoked"):
        Recording(engine="test", daemon=endpoint, key=read_node_key(key))


def test_secrets_are_for_their_owner_and_lists_show_no_secret(tmp_path):
    ring, key = tmp_path / "keys", tmp_path / "pi0.key"
    epid("keys", "new", "pi0", "--keys", ring, "--out", key)
    assert stat.S_IMODE(key.stat().st_mode) == stat.S_IMODE((ring / "daemon.secret").stat().st_mode) == 0o600
    code, output = epid("keys", "list", "--keys", ring, "--json")
    assert code == 0 and list(json.loads(output)) == ["pi0"]
    assert json.loads(key.read_text())["secret"] not in output
    assert not any(json.loads(key.read_text())["secret"] in path.read_text() for path in ring.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("new", "pi0"), "node 'pi0' has a key already; revoke it first"),
        (("new", "../x"), "is no name for a key"),
        (("revoke", "pi9"), "no key of a node 'pi9' in"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(tmp_path, arguments, sentence):
    ring = tmp_path / "keys"
    epid("keys", "new", "pi0", "--keys", ring, "--out", tmp_path / "pi0.key")
    extra = ["--out", tmp_path / "again.key"] if arguments[0] == "new" else []
    code, output = epid("keys", *arguments, "--keys", ring, *extra)
    assert code == 2 and sentence in output
    assert not (tmp_path / "again.key").exists()


def test_off_loopback_it_listens_with_keys_or_when_told_to_be_open(tmp_path):
    code, output = epid("serve", "--listen", "tcp://0.0.0.0:5790", "--runs", tmp_path)
    assert code == 2 and "could be reached by anyone; give keys with --keys" in output


def test_a_file_that_is_no_key_is_named(tmp_path):
    wrong = tmp_path / "no.key"
    wrong.write_text("{}")
    with pytest.raises(HookrunError, match="is no key file; `epid keys new NODE` makes one"):
        read_node_key(wrong)
