#!/usr/bin/env python3
"""halmos, with SHA-256 answering zero.

The hash is the beginning of the signature check, which the proofs mock; what comes out of it would only branch. halmos 0.3.3
also takes the length of its input for bits and fails on it.
"""

import sys

import z3
from halmos import sevm
from halmos.__main__ import main

plain = sevm.Function


def function(name, *sorts):
    return (lambda _: z3.BitVecVal(0, 256)) if name.startswith("f_sha256_") else plain(name, *sorts)


sevm.Function = function
sys.exit(main())
