"""The group contract with a fault in it, and a copy of the contracts to try it in."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
CONTRACTS = HERE.parent
ROOT = CONTRACTS.parent
WORK = ROOT / "target" / "audit"
ARTIFACT = Path("out") / "Group.sol" / "Group.json"


class Compiler:
    """Compiles `src/Group.sol` with some of the sources replaced."""

    def __init__(self):
        self.process = subprocess.Popen(
            ["node", HERE / "compile.mjs"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=CONTRACTS
        )
        self.plain = self.compile({})
        exported = json.loads((CONTRACTS / "abi" / "Group.json").read_text())
        if self.plain.get("bytecode") != exported["bytecode"]["object"]:
            sys.exit(f"the group contract is not what is in contracts/abi ({self.plain.get('error', 'another bytecode')}): run `make abi`")

    def compile(self, files):
        self.process.stdin.write(json.dumps({"files": files}) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


def replaced(file, old, new):
    """The text of a source with one place of it replaced."""
    text = (CONTRACTS / file).read_text()
    if text.count(old) != 1:
        sys.exit(f"{file} has {text.count(old)} places with {old!r}, and there must be one")
    return text.replace(old, new)


def copy(name, entries):
    """An own copy of the contracts, in which nothing is broken for others. What is not there is left out."""
    place = WORK / name
    folder = place / "contracts"
    shutil.rmtree(place, ignore_errors=True)
    folder.mkdir(parents=True)
    for entry in entries:
        if (CONTRACTS / entry).is_dir():
            shutil.copytree(CONTRACTS / entry, folder / entry)
        elif (CONTRACTS / entry).exists():
            (folder / entry).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(CONTRACTS / entry, folder / entry)
    (place / "node_modules").symlink_to(ROOT / "node_modules")
    return folder


def plant(folder, built):
    """Puts another group contract where tests take it from. forge looks at sources only, and keeps it."""
    path = folder / ARTIFACT
    artifact = json.loads(path.read_text())
    artifact["bytecode"]["object"] = built["bytecode"]
    artifact["deployedBytecode"]["object"] = built["deployed"]
    path.write_text(json.dumps(artifact))


def planted(folder, built):
    """Whether it is there still."""
    return json.loads((folder / ARTIFACT).read_text())["bytecode"]["object"] == built["bytecode"]


def environment():
    """Tools from npm first, as in the Makefile."""
    return os.environ | {"PATH": f"{ROOT / 'node_modules' / '.bin'}:{os.environ['PATH']}", "NO_COLOR": "1"}
