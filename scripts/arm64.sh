#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# What `make arm64` runs: compiles firn/base and firn/index for 64-bit ARM with all warnings, and
# runs histories of threads on the index under QEMU. That shows that the code compiles there and
# works, not that its orders suffice: QEMU keeps those of the host. firn_relacy looks at orders.
set -euo pipefail
cd "$(dirname "$0")/.."

out=build/arm64
mkdir -p "$out"
# xxHash and ISA-L give headers that are the same for all; those of the system itself come first.
flags=(-std=c++23 -O1 -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Werror
  -I. -idirafter /usr/include)
mapfile -t sources < <(git ls-files 'firn/base/*.cc' 'firn/index/*.cc' |
  grep -vE '_(test|fuzz)\.cc$')
sources+=(tests/histories/main.cc)
compile() {
  echo "compiling $1 ..."
  aarch64-linux-gnu-g++ "${flags[@]}" -c "$1" -o "$out/$(tr / _ <<<"$1").o"
}
for source in "${sources[@]}"; do
  compile "$source"
done

# ISA-L is not there for ARM; the index does not need it.
objects=()
for source in "${sources[@]}"; do
  [[ $source == firn/base/crc32c.cc ]] || objects+=("$out/$(tr / _ <<<"$source").o")
done
aarch64-linux-gnu-g++ -o "$out/firn_histories" "${objects[@]}" -pthread
for seed in 16 36 52; do
  qemu-aarch64 -L /usr/aarch64-linux-gnu "$out/firn_histories" --operations 1 --seed "$seed"
done
