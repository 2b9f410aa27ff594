#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks the protocol of LocationIndex: every scenario is linearizable, every mistake is found.

usage: index_model.py [--only SCENARIO] [--mistake NAME]

Prints the states of each scenario, and for each mistake after how many states it was found. With
--mistake, prints the interleaving that shows it. Exits 1 if anything is not as it must be.
"""
import argparse
import gc
import sys
import time

sys.dont_write_bytecode = True
import scenarios  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", help="one scenario")
    parser.add_argument("--mistake", help="a deliberate mistake, by its name")
    arguments = parser.parse_args()
    everything = {s.name: s for s in scenarios.SCENARIOS + scenarios.EPOCHS}
    if arguments.mistake:
        return show(everything, arguments.mistake, arguments.only)
    wrong = total = 0
    begin = time.monotonic()
    for name, scenario in everything.items():
        if arguments.only in (None, name):
            outcome = scenarios.run(scenario)
            total += outcome.states
            wrong += outcome.verdict != "linearizable"
            print(f"{name:28} {outcome.states:9,} states  {outcome.verdict}", flush=True)
    for mistake, finders in [] if arguments.only else scenarios.MISTAKES:
        for name in finders:
            outcome = scenarios.run(everything[name], [mistake])
            found = outcome.verdict != "linearizable" and outcome.trace
            wrong += not found
            print(f"{mistake:28} {outcome.states:9,} states  {name}: "
                  f"{outcome.verdict if found else 'SURVIVES'}", flush=True)
    print(f"{total:,} states in {len(everything)} scenarios, {len(scenarios.MISTAKES)} mistakes, "
          f"{time.monotonic() - begin:.1f} s, {wrong} wrong")
    return 1 if wrong else 0


def show(everything, mistake, only):
    finders = dict(scenarios.MISTAKES)[mistake]
    outcome = scenarios.run(everything[only or finders[0]], [mistake])
    for step in outcome.trace:
        print("   ", *step)
    print(outcome.verdict)
    return 0


if __name__ == "__main__":
    gc.disable()  # a search makes millions of tuples, and no cycles
    sys.exit(main())
