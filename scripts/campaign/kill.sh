#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# SIGKILLs of the command, at random moments and at its n-th system call that changes something.
# usage: kill.sh REPORT, with DURATION, SEED and ONLY in the environment.
set -euo pipefail
source scripts/build.sh
build release firn_command firn_kill
# A kill leaves the page cache alone, so that stores in memory, where the program puts them, serve
# as well as on a disk. Without a DURATION: 20,000 kills of each kind of store.
exec build/release/campaign/firn_kill --json "$1" --cases 20000 \
  ${DURATION:+--duration "$DURATION"} ${SEED:+--seed "$SEED"} ${ONLY:+--only "$ONLY"}
