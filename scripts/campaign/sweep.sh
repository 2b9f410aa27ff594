#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Every damage to small stores of every structure: each bit flipped, each length, each sector and
# file zeroed, doubled, exchanged, removed or taken back in time.
# usage: sweep.sh REPORT, with DURATION and SEED in the environment.
set -euo pipefail
source scripts/build.sh
build release firn_sweep
# Without a DURATION: so many stores that more than 20 of each structure are seen, closed and
# killed, and a million flipped bits.
build/release/campaign/firn_sweep --json "$1" --cases 1500000 ${DURATION:+--duration "$DURATION"} \
  ${SEED:+--seed "$SEED"}
