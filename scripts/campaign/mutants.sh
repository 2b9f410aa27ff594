#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The tests of the tests: each mistake of campaign/mutants.toml must make the test that it names
# fail. Without a DURATION: all of them. SEED draws their order.
# usage: mutants.sh REPORT, with DURATION, SEED and ONLY in the environment.
set -euo pipefail
exec campaign/mutants.py --json "$1" \
  ${DURATION:+--duration "$DURATION"} ${SEED:+--seed "$SEED"} ${ONLY:+--only "$ONLY"}
