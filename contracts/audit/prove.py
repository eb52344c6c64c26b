#!/usr/bin/env python3
"""Proves the claims of symbolic/Proofs.t.sol about the group contract, and that each of them can fail.

faults.toml plants faults in the contract and says which claims must notice. A claim that no fault is for fails the run.
"""

import json
import shutil
import subprocess
import sys
import tomllib

from group_build import CONTRACTS, HERE, WORK, Compiler, copy, environment, plant, replaced

SECONDS_MAX = 1200


def halmos(folder, match):
    """Result of each claim: its exit code (0: proven, 1: refuted, else: not decided), paths and seconds."""
    report, log = folder.parent / "report.json", folder.parent / "log"
    report.unlink(missing_ok=True)
    # Branches are decided with a bound on time; one that is not decided is taken both ways, which proves no less.
    command = [sys.executable, HERE / "halmos_mocked.py", "--no-status", "--solver-timeout-branching", "100ms"]
    command += ["--match-test", f"^({match})", "--json-output", report]
    with open(log, "w") as output:
        try:
            subprocess.run(command, cwd=folder, stdout=output, stderr=output, env=environment(), timeout=SECONDS_MAX, check=False)
        except subprocess.TimeoutExpired:
            sys.exit(f"halmos was not done with {match} after {SECONDS_MAX} seconds; see {log}")
    if not report.exists():
        sys.exit(f"halmos did not finish; see {log}")
    tests = [test for tests in json.loads(report.read_text())["test_results"].values() for test in tests]
    return {test["name"].split("(")[0]: test for test in tests}


def main():
    folder = copy("symbolic", ["src/Group.sol", "src/group", "src/interfaces", "src/libraries", "src/types", "bin"])
    shutil.copytree(HERE / "symbolic", folder / "audit" / "symbolic")
    shutil.move(folder / "audit" / "symbolic" / "foundry.toml", folder)
    for name in ("Test.sol", "Vm.sol"):
        (folder / "test" / "helpers").mkdir(parents=True, exist_ok=True)
        shutil.copy(CONTRACTS / "test" / "helpers" / name, folder / "test" / "helpers")

    compiler = Compiler()
    proven = halmos(folder, "check_")
    built = json.loads((folder / "out" / "Group.sol" / "Group.json").read_text())
    if built["bytecode"]["object"] != compiler.plain["bytecode"]:
        sys.exit("what was proven is not the contract in contracts/abi")
    problems = [name for name, test in proven.items() if test["exitcode"] != 0 or test["num_bounded_loops"]]
    for name, test in sorted(proven.items()):
        print(f"  {'proven ' if test['exitcode'] == 0 else 'REFUTED'}  {name}, {test['num_paths'][0]} paths")

    faults = [fault for fault in tomllib.loads((HERE / "faults.toml").read_text())["fault"] if "claims" in fault]
    for fault in faults:
        mutant = compiler.compile({fault["file"]: replaced(fault["file"], fault["old"], fault["new"])})
        if "error" in mutant:
            sys.exit(f"{fault['name']}: {mutant['error']}")
        plant(folder, mutant)
        results = halmos(folder, "|".join(f"{claim}\\(" for claim in fault["claims"]))
        for claim in fault["claims"]:
            noticed = results[claim]["exitcode"] == 1
            print(f"  {'refuted' if noticed else 'MISSED '}  {claim}, where {fault['name']}")
            if not noticed:
                problems.append(claim)
    for claim in proven.keys() - {claim for fault in faults for claim in fault["claims"]}:
        print(f"no fault in faults.toml is for {claim}", file=sys.stderr)
        problems.append(claim)
    print(f"halmos: {len(proven)} claims over the deployed bytecode, {len(faults)} planted faults, {len(problems)} problems; see {WORK / 'symbolic'}")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
