#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# What `make bench` runs: the programs firn_bench_AREA, one after the other, each of which prints
# its table and writes build/bench/AREA.json. AREA (default: all) and QUICK are in the environment.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/build.sh
build bench

mapfile -t areas < <(ninja -C build/release -t targets all |
  sed -n 's/^firn_bench_\([a-z_]*\): phony$/\1/p' | sort)
if [[ -n ${AREA:-} && " ${areas[*]} " != *" $AREA "* ]]; then
  echo "bench: no area '$AREA'; there are: ${areas[*]:-none}" >&2
  exit 1
fi

mkdir -p build/bench
for area in ${AREA:-"${areas[@]}"}; do
  program=$(find build/release -type f -name "firn_bench_$area" -perm -u+x)
  "$program" ${QUICK:+--quick} --json "build/bench/$area.json"
  echo "wrote build/bench/$area.json"
done
