#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# What `make lint` runs, with the tools of clang 19: the format, a build with the thread-safety
# analysis and all warnings as errors (nothing is linked), and clang-tidy over every source file.
# A file that clang-tidy found clean is not read again until it, a header or the rules change.
set -euo pipefail
cd "$(dirname "$0")/.."
jobs=$(nproc)

echo "clang-format ..."
git ls-files -co --exclude-standard '*.h' '*.cc' | xargs -r clang-format-19 --dry-run -Werror

echo "thread safety and warnings ..."
cmake --preset lint >/dev/null
mapfile -t objects < <(ninja -C build/lint -t targets all | sed -n 's/^\(.*\.cc\.o\): CXX_COMP.*/\1/p')
ninja -C build/lint -k 0 "${objects[@]}" | grep -v '^\[' || [[ ${PIPESTATUS[0]} -eq 0 ]]

echo "clang-tidy ..."
headers=$({ cat .clang-tidy; git ls-files -co --exclude-standard '*.h' | sort | xargs cat; } |
  sha256sum)
mkdir -p build/lint/clean
check() {
  local stamp
  stamp=build/lint/clean/$({ echo "$2 $1"; cat "$1"; } | sha256sum | cut -d' ' -f1)
  [[ -e $stamp ]] || { clang-tidy-19 --quiet -p build/lint "$1" 2>/dev/null && touch "$stamp"; }
}
export -f check
git ls-files -co --exclude-standard '*.cc' |
  grep -F -x -f <(sed -n "s|^ *\"file\": \"$PWD/\(.*\)\",*|\1|p" build/lint/compile_commands.json) |
  xargs -r -P "$jobs" -I {} bash -c 'check "$1" "$2"' _ {} "$headers"
echo "lint: clean"
