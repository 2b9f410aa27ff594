#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# What `make campaign` runs: one stage (STAGE) or all of them, in the order below. A stage is an
# executable file scripts/campaign/STAGE.sh. It gets DURATION (seconds) and SEED in the environment,
# empty for its defaults, and the path of its report as its argument:
# {"stage","cases","violations","seconds","seed"}. A stage that finds a violation prints the command
# that replays it and exits with an error; the other stages still run.
set -euo pipefail
cd "$(dirname "$0")/.."
stages=()
for stage in sim sweep calls kill powercut fuzz threads mutants; do
  [[ ! -x scripts/campaign/$stage.sh ]] || stages+=("$stage")
done
if [[ -n ${STAGE:-} && " ${stages[*]} " != *" $STAGE "* ]]; then
  echo "campaign: no stage '$STAGE'; there are: ${stages[*]:-none}" >&2
  exit 1
fi

mkdir -p build/campaign
failed=()
for stage in ${STAGE:-"${stages[@]}"}; do
  report=build/campaign/$stage.json
  rm -f "$report"
  "scripts/campaign/$stage.sh" "$report" || failed+=("$stage")
done
printf '\n%-10s %14s %11s %9s %12s\n' stage cases violations seconds seed
for stage in ${STAGE:-"${stages[@]}"}; do
  report=build/campaign/$stage.json
  if [[ -f $report ]]; then
    value() { sed -n "s/.*\"$1\":\([0-9]*\).*/\1/p" "$report"; }
    printf '%-10s %14s %11s %9s %12s\n' "$stage" "$(value cases)" "$(value violations)" \
      "$(value seconds)" "$(value seed)"
  else
    printf '%-10s %14s\n' "$stage" "no report"
  fi
done
[[ ${#failed[@]} -eq 0 ]] || { echo "campaign: violations or errors in: ${failed[*]}" >&2; exit 1; }
