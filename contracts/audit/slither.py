#!/usr/bin/env python3
"""Static analysis of everything in contracts/src, by slither. Each finding must be explained in slither.toml.

A finding is known by its detector and by the function or variable it is in, so that moved lines change nothing. One that
slither.toml does not explain fails the run, and so does an explanation that fits nothing any more.
"""

import collections
import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent
CONTRACTS = HERE.parent
ROOT = CONTRACTS.parent
WORK = ROOT / "target" / "audit" / "slither"


def analyse(excluded):
    """Runs slither on a copy of the sources, for it cleans and rebuilds the folder that it is pointed to."""
    shutil.rmtree(WORK, ignore_errors=True)
    folder = WORK / "contracts"
    folder.mkdir(parents=True)
    for name in ("src", "bin"):
        shutil.copytree(CONTRACTS / name, folder / name)
    shutil.copy(CONTRACTS / "foundry.toml", folder)
    (WORK / "node_modules").symlink_to(ROOT / "node_modules")
    report = WORK / "report.json"
    command = [Path(sys.executable).parent / "slither", ".", "--filter-paths", "node_modules", "--exclude", ",".join(excluded)]
    command += ["--json", report]
    # Its exit code says how many findings there are, which the report says better.
    with open(WORK / "log", "w") as log:
        subprocess.run(command, cwd=folder, stdout=log, stderr=log, env=os.environ | {"NO_COLOR": "1"}, check=False)
    if not report.exists():
        sys.exit(f"slither did not finish; see {WORK / 'log'}")
    result = json.loads(report.read_text())
    if not result["success"]:
        sys.exit(f"slither failed: {result['error']}")
    return result["results"].get("detectors", [])


def place(finding):
    """The function or variable that a finding is in, such as `Group._run`."""
    element = next((e for e in finding["elements"] if e["type"] in ("function", "variable", "contract")), None)
    if element is None:
        return "?"
    parent = element.get("type_specific_fields", {}).get("parent", {})
    names = [element["name"]]
    while parent.get("type") in ("function", "contract"):
        names.insert(0, parent["name"])
        parent = parent.get("type_specific_fields", {}).get("parent", {})
    return ".".join(names)


def main():
    triage = tomllib.loads((HERE / "slither.toml").read_text())
    excluded = {entry["check"] for entry in triage["not_asked"]}
    explained = {(entry["check"], entry["at"]): entry for entry in triage["explained"]}
    findings = analyse(excluded)
    seen = collections.Counter((finding["check"], place(finding)) for finding in findings)
    texts = {(finding["check"], place(finding)): finding["description"].strip() for finding in findings}

    problems = []
    for key, count in sorted(seen.items()):
        wanted = explained[key].get("count", 1) if key in explained else 0
        if count > wanted:
            problems.append(f"{count - wanted} new finding(s) of {key[0]} at {key[1]}:\n{texts[key]}")
    for key, entry in explained.items():
        if seen[key] < entry.get("count", 1):
            problems.append(f"slither.toml explains {entry.get('count', 1)} finding(s) of {key[0]} at {key[1]}, there are {seen[key]}")
    for problem in problems:
        print(problem, file=sys.stderr)
    print(f"slither: {sum(seen.values())} findings, {len(problems)} not as explained in contracts/audit/slither.toml")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
