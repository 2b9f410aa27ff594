#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Every damage to small stores of every structure: each bit flipped, each length, each sector and
# file zeroed, doubled, exchanged, removed or taken back in time.
# usage: sweep.sh REPORT, with DURATION, SEED and ONLY in the environment.
set -euo pipefail
source scripts/build.sh
build release firn_sweep
# Without a DURATION: 23 stores of each row closed, and 22 killed, or the other way round, five of
# them large; more than a million flipped bits.
build/release/campaign/firn_sweep --json "$1" --runs 45 ${DURATION:+--duration "$DURATION"} \
  ${SEED:+--seed "$SEED"} ${ONLY:+--only "$ONLY"}
