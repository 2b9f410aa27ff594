#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Simulated power cuts and faults over every structure that has a simulation.
# usage: sim.sh REPORT, with DURATION, SEED and ONLY in the environment.
set -euo pipefail
source scripts/build.sh
build release firn_sim
# Without a DURATION: 100,000 random cuts of each structure, after the exhaustive runs.
exec build/release/sim/firn_sim --json "$1" --cuts 100000 \
  ${DURATION:+--duration "$DURATION"} ${SEED:+--seed "$SEED"} ${ONLY:+--scenario "$ONLY"}
