#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# SIGKILLs of the command, at random moments and at its n-th system call that changes something.
# usage: kill.sh REPORT, with DURATION and SEED in the environment.
set -euo pipefail
source scripts/build.sh
build release firn_command firn_kill
# A kill leaves the page cache alone, so memory serves as well as a disk, and faster.
stores=$PWD/build/campaign/kill
[[ ! -w /dev/shm ]] || stores=$(mktemp -d /dev/shm/firn-kill-XXXXXX)
# Without a DURATION: 20,000 kills of each kind of store. What a violation leaves stays there.
build/release/campaign/firn_kill --firn "$PWD/build/release/bin/firn" --directory "$stores" \
  --json "$1" --cases 20000 ${DURATION:+--duration "$DURATION"} ${SEED:+--seed "$SEED"}
rm -rf "$stores"
