#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Power cuts and failing devices under the command, on ext4, XFS and btrfs. Needs root, loop devices
# and FUSE; says what is missing and fails if something is.
# usage: powercut.sh REPORT, with DURATION, SEED and ONLY in the environment.
set -euo pipefail
scripts/setup.sh campaign
source scripts/build.sh
build campaign firn_command firn_powercut
as_root=()
[[ $(id -u) -eq 0 ]] || as_root=(sudo)
# The disks are memory; only folders to mount on are made here. Without a DURATION: 1,000 cases of
# each row.
exec "${as_root[@]}" build/release/campaign/firn_powercut --firn "$PWD/build/release/bin/firn" \
  --directory "$PWD/build/campaign/powercut" --json "$1" \
  ${DURATION:+--duration "$DURATION"} ${SEED:+--seed "$SEED"} ${ONLY:+--only "$ONLY"}
