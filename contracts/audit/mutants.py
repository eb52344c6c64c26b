"""Small changes of the code that verifies: what a programmer may get wrong, one at a time."""

import dataclasses
import re
import zlib

from group_build import CONTRACTS

# Where the group contract decides what it believes. A name stands for the function that begins there; none for the file.
PLACES = [
    ("src/Group.sol", ["deliver", "_accept", "_digestOf", "_deliver", "_walk"]),
    ("src/libraries/GroupSignature.sol", ["prepare", "isValid", "isValidInMemory", "holds", "isValidKey", "hashToG1", "reduce", "pairing"]),
    ("src/libraries/Frontier.sol", ["leaf", "includes"]),
    ("src/libraries/Records.sol", ["load", "extend", "leaf", "retrace"]),
    ("src/group/Governance.sol", ["govern", "recover", "_halt", "_resume", "_rotate", "_setKey", "_currentKeyStore"]),
    ("src/group/GroupBase.sol", ["constructor"]),
]

# Each occurrence of the left becomes the right. Spaces keep assembly's functions and Solidity's operators apart.
SWAPS = [
    (r" == ", " != "),
    (r" != ", " == "),
    (r" < ", " <= "),
    (r" <= ", " < "),
    (r" > ", " >= "),
    (r" >= ", " > "),
    (r" && ", " || "),
    (r" \|\| ", " && "),
    (r"\beq\(", "lt("),
    (r"\blt\(", "gt("),
    (r"\bgt\(", "lt("),
    (r"\band\(", "or("),
    (r"\bor\(", "and("),
    (r"\biszero\(", "not("),
    (r"\btrue\b", "false"),
    (r"\bfalse\b", "true"),
    (r" \+ ", " - "),
    (r" - ", " + "),
    (r"\+\+", "--"),
    (r"\badd\(", "sub("),
    (r"\bsub\(", "add("),
    (r"\bmul\(", "div("),
    (r"\bdiv\(", "mul("),
    (r"\bshl\(", "shr("),
    (r"\bshr\(", "shl("),
    (r"\bxor\(", "and("),
]
DECISION = re.compile(r" (==|!=|<|<=|>|>=|&&|\|\|) |\b(true|false|require)\b")
NUMBER = re.compile(r"(?<![\w.\"])(0x[0-9a-f]{1,4}|[0-9]+)(?![\w.\"])")
DECLARATION = re.compile(r"^(uint\w*|bytes\w*|address|bool|let|function|return|\(uint|\(bytes|\(bool|\(address|Process storage|emit)\b")
STATEMENT = re.compile(r"^(require\(|revert |if .*(return|revert).*;$|[\w.\[\]() ,]+ (=|\+=|-=|:=) |\w+\(.*\);?$|\+\+\w+;|delete )")


@dataclasses.dataclass(frozen=True)
class Mutant:
    file: str
    line: int
    before: str
    after: str

    @property
    def key(self):
        return self.file, self.before.strip(), self.after.strip()

    def source(self):
        lines = (CONTRACTS / self.file).read_text().split("\n")
        assert lines[self.line] == self.before
        return "\n".join(lines[: self.line] + [self.after] + lines[self.line + 1 :])

    def __str__(self):
        return f"{self.file}:{self.line + 1}: {self.before.strip()}  ->  {self.after.strip() or '(nothing)'}"


def bodies(lines, names):
    """Numbers of the lines inside of the named functions."""
    missing = set(names)
    inside, depth, name = False, 0, None
    for number, line in enumerate(lines):
        begins = re.match(r"^    (?:function (\w+)|(constructor))\b", line)
        if begins and not inside:
            name = begins.group(1) or begins.group(2)
            inside, depth, opened = name in names, 0, False
            missing.discard(name)
        if not inside:
            continue
        was_open = opened
        depth += line.count("{") - line.count("}")
        opened = opened or "{" in line
        if was_open and depth > 0:
            yield number
        if opened and depth == 0:
            inside = False
    assert not missing, f"no function {missing}"


def of_line(file, number, line):
    code = line.split("//")[0]
    stripped = code.strip()
    if not stripped or stripped.startswith(("*", "/*")):
        return
    if STATEMENT.match(stripped) and not DECLARATION.match(stripped) and stripped.count("(") == stripped.count(")"):
        yield Mutant(file, number, line, line[: len(line) - len(line.lstrip())])
    for pattern, other in SWAPS:
        for match in re.finditer(pattern, code):
            yield Mutant(file, number, line, line[: match.start()] + other + line[match.end() :])
    for match in NUMBER.finditer(code):
        text = match.group(1)
        more = f"0x{int(text, 16) + 1:0{len(text) - 2}x}" if text.startswith("0x") else str(int(text) + 1)
        yield Mutant(file, number, line, line[: match.start()] + more + line[match.end() :])


def few(mutants):
    """Of a line of assembly one: its parts are found by the same tests. Of other lines all that change a decision, and one
    that changes a number. Which one, is any, but always the same."""
    if not mutants:
        return []
    code = mutants[0].before.strip()
    pick = lambda some: [some[zlib.crc32(code.encode()) % len(some)]] if some else []
    if not code.endswith((";", "{", ",", ")")) or ":=" in code or code.startswith("mstore"):
        return pick(mutants)
    decides = [m for m in mutants if not m.after.strip() or re.search(DECISION, m.before) and not differs_by_number(m)]
    return decides + pick([m for m in mutants if m not in decides])


def differs_by_number(mutant):
    return NUMBER.sub("#", mutant.before) == NUMBER.sub("#", mutant.after)


def all_mutants(everything=False):
    """Of every place, in turns, so that a run that is cut short has seen a bit of each."""
    queues = []
    for file, names in PLACES:
        lines = (CONTRACTS / file).read_text().split("\n")
        each = [list(of_line(file, number, lines[number])) for number in bodies(lines, names)]
        queues.append([mutant for mutants in each for mutant in (mutants if everything else few(mutants))])
    total = max(map(len, queues))
    ranked = [(index * total / len(queue), mutant) for queue in queues for index, mutant in enumerate(queue)]
    return [mutant for _, mutant in sorted(ranked, key=lambda pair: pair[0])]
