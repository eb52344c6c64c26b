#!/usr/bin/env python3
"""Mutation of the way a group contract verifies: each small change of it must make a test fail.

A mutant that no test fails for must be argued to be equivalent in mutants.toml, and everything there must still exist.
Then the faults of faults.toml are planted that an invariant must notice.
"""

import argparse
import concurrent.futures
import itertools
import os
import queue
import shutil
import subprocess
import sys
import time
import tomllib

from group_build import HERE, WORK, Compiler, copy, environment, plant, planted, replaced
from mutants import all_mutants

# Quick ones first; what they let pass meets all tests of the group contract.
QUICK = "test/{Deliver,Frozen,Govern,Constructor}.t.sol"
ALL = "test/*.t.sol"
# Gas and its repayment have bars of their own; the vault is an example.
NOT_ASKED = "test/{Gas,Vault,ERC7786Adapter}.t.sol"
# What tests a library by itself.
LIBRARIES = {
    "src/libraries/GroupSignature.sol": "test/GroupSignature.t.sol",
    "src/libraries/Frontier.sol": "test/Frontier.t.sol",
}
SECONDS_MAX = 600


def forge(folder, arguments, **more):
    """Whether the tests fail. Tests that do not end are failing ones."""
    command = ["forge", "test", "--fail-fast", *arguments]
    with open(folder.parent / "log", "w") as log:
        try:
            return subprocess.run(command, cwd=folder, stdout=log, stderr=log, env=environment() | more, timeout=SECONDS_MAX).returncode != 0
        except subprocess.TimeoutExpired:
            return True


def verdict(folder, compiler, mutant):
    """What becomes of a mutant: `stillborn`, `same`, `killed` or `survived`."""
    built = compiler.compile({mutant.file: mutant.source()})
    if "error" in built:
        return "stillborn"
    if built["deployed"] == compiler.plain["deployed"] and built["bytecode"] == compiler.plain["bytecode"]:
        return "same"
    plant(folder, built)
    dies = forge(folder, ["--match-path", QUICK], FOUNDRY_FUZZ_RUNS="16")
    dies = dies or forge(folder, ["--match-path", ALL, "--no-match-path", NOT_ASKED], FOUNDRY_FUZZ_RUNS="64")
    if not planted(folder, built):
        sys.exit(f"forge has built the group contract again in {folder}: nothing was tested")
    plant(folder, compiler.plain)
    if dies:
        return "killed"
    if mutant.file not in LIBRARIES:
        return "survived"
    # Tests of a library take it from its source. Afterwards everything is built as it was, or forge would do it in between.
    source = folder / mutant.file
    text = source.read_text()
    source.write_text(mutant.source())
    dies = forge(folder, ["--match-path", LIBRARIES[mutant.file]])
    source.write_text(text)
    forge(folder, ["--match-path", LIBRARIES[mutant.file]], FOUNDRY_FUZZ_RUNS="1")
    if dies:
        return "killed"
    return "survived"


def copy_of(folder, number):
    place = WORK / f"mutants-{number}"
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(folder.parent, place, symlinks=True)
    return place / "contracts"


class Workers:
    """Each with a warm compiler and a copy of the contracts of its own, in which the tests are built."""

    def __init__(self, count):
        # What is built already need not be built again.
        first = copy("mutants-0", ["src", "test", "kit", "bin", "foundry.toml", "out", "cache"])
        self.free = queue.Queue()
        for number in range(count):
            folder = first if number == 0 else copy_of(first, number)
            # All of it: forge would put the group contract back as it is wherever it has tests to build.
            subprocess.run(["forge", "build", "--quiet"], cwd=folder, env=environment(), check=True)
            # Without a mutant: what fails here would kill them all.
            if forge(folder, ["--match-path", QUICK], FOUNDRY_FUZZ_RUNS="16"):
                sys.exit(f"tests fail without any mutant; see {folder.parent / 'log'}")
            self.free.put((folder, Compiler()))

    def borrow(self, act, *arguments):
        worker = self.free.get()
        try:
            return act(*worker, *arguments)
        finally:
            self.free.put(worker)


def breaks(folder, invariant):
    # forge matches the whole signature.
    fails = forge(folder, ["--match-test", f"^{invariant}\\("], FOUNDRY_INVARIANT_SHRINK_RUN_LIMIT="0")
    if invariant not in (folder.parent / "log").read_text():
        sys.exit(f"{invariant} was not run; see {folder.parent / 'log'}")
    return fails


def notices(folder, compiler, fault):
    """The tests that a planted fault does not fail for."""
    # Whether it fails, not the shortest way to it.
    unseen = lambda: [test for test in fault["invariants"] if not breaks(folder, test)]
    text = replaced(fault["file"], fault["old"], fault["new"])
    built = compiler.compile({fault["file"]: text})
    if "error" in built:
        sys.exit(f"{fault['name']}: {built['error']}")
    if built["bytecode"] != compiler.plain["bytecode"]:
        plant(folder, built)
        missed = unseen()
        if not planted(folder, built):
            sys.exit(f"forge has built the group contract again in {folder}: nothing was tested")
        plant(folder, compiler.plain)
        return missed
    # Not of the group contract: forge builds what it is of, and builds it again afterwards.
    source = folder / fault["file"]
    plain = source.read_text()
    source.write_text(text)
    missed = unseen()
    source.write_text(plain)
    forge(folder, ["--match-path", QUICK], FOUNDRY_FUZZ_RUNS="1")
    return missed


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--everything", action="store_true", help="every change, also those of one line that are alike")
    parser.add_argument("--only", default="", help="only places whose description holds this")
    parser.add_argument("--after", type=int, default=0, help="leave so many out at the beginning: an earlier run has judged them")
    parser.add_argument("--minutes", type=float, default=0, help="begin no mutant after so long; what is left out makes the run fail")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    options = parser.parse_args()

    argued = {(e["file"], e["before"], e["after"]): e for e in tomllib.loads((HERE / "mutants.toml").read_text())["equivalent"]}
    mutants = [mutant for mutant in all_mutants(options.everything) if options.only in str(mutant)][options.after :]
    faults = [f for f in tomllib.loads((HERE / "faults.toml").read_text())["fault"] if "invariants" in f and options.only in f["name"]]
    started, workers = time.monotonic(), Workers(options.workers)

    judged = itertools.count(1)

    def judge(mutant):
        late = options.minutes and time.monotonic() - started > 60 * options.minutes
        result = "left out" if late else workers.borrow(verdict, mutant)
        if result not in ("killed", "stillborn"):
            print(f"  {'argued' if mutant.key in argued else result:9} {mutant}", flush=True)
        number = next(judged)
        if number % 25 == 0:
            print(f"  {number} of {len(mutants)} after {(time.monotonic() - started) / 60:.0f} minutes", flush=True)
        return result

    with concurrent.futures.ThreadPoolExecutor(options.workers) as pool:
        results = list(zip(mutants, pool.map(judge, mutants)))
        missed = list(zip(faults, pool.map(lambda fault: workers.borrow(notices, fault), faults)))

    problems = [str(mutant) for mutant, result in results if result == "left out" or (result == "survived" and mutant.key not in argued)]
    for fault, tests in missed:
        print(f"  {'MISSED' if tests else 'noticed':9} {fault['name']}: {', '.join(fault['invariants'])}")
        problems += tests
    if not options.only and not options.after:
        alive = {mutant.key for mutant, result in results if result == "survived"}
        for key in argued.keys() - alive:
            print(f"mutants.toml argues about what does not survive: {key}", file=sys.stderr)
            problems.append(str(key))
    count = lambda what: sum(result == what for _, result in results)
    reasoned = sum(result == "survived" and mutant.key in argued for mutant, result in results)
    print(f"mutants: {len(results)}, of them killed {count('killed')}, survived {count('survived')} (argued {reasoned}), "
          f"the same code {count('same')}, not compiling {count('stillborn')}, left out {count('left out')}")
    print(f"planted faults for invariants: {len(faults)}, not noticed {sum(bool(tests) for _, tests in missed)}; "
          f"{(time.monotonic() - started) / 60:.0f} minutes, {len(problems)} problems; logs under {WORK}")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
