#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Short lives of stores in which every system call fails, once and from then on, with each errno
# that it can have, and every allocation.
# usage: calls.sh REPORT, with DURATION, SEED and ONLY in the environment.
set -euo pipefail
source scripts/build.sh
build release firn_failed_calls
build/release/campaign/firn_failed_calls --json "$1" --cases 30000 \
  ${DURATION:+--duration "$DURATION"} ${SEED:+--seed "$SEED"} ${ONLY:+--only "$ONLY"}
