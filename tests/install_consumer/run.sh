#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# usage: run.sh static|shared SOURCE_DIR BINARY_DIR WORK_DIR CXX
set -euo pipefail
kind=$1 source=$2 binary=$3 work=$4
export CXX=$5
here=$source/tests/install_consumer/consumer
rm -rf "$work/prefix" "$work/moved" "$work/consumer"
mkdir -p "$work"

# The tree that runs this test is static: install it as it is. The shared library is a build of its
# own, unoptimised because only its packaging is tested; it stays for the next run.
if [[ $kind == shared ]]; then
  binary=$work/build
  cmake -S "$source" -B "$binary" -G Ninja -DBUILD_SHARED_LIBS=ON -DCMAKE_BUILD_TYPE=Debug \
    -DCMAKE_CXX_FLAGS_DEBUG=-O0 -DCMAKE_UNITY_BUILD=ON -DFIRN_TESTS=OFF -DFIRN_TOOLS=OFF
  cmake --build "$binary" --target firn
fi
components=(library development)
[[ $kind == shared ]] || components+=(testkit)
for component in "${components[@]}"; do
  cmake --install "$binary" --prefix "$work/prefix" --component $component >/dev/null
done
mv "$work/prefix" "$work/moved"  # nothing installed may know where it was installed

# Every installed header of the test kit must find what it includes.
mkdir -p "$work/consumer"
find "$work/moved" -path '*/testkit/*.h' -printf '#include "testkit/%f"\n' \
  >"$work/consumer/headers.cc"
with_testkit=$([[ $kind == static ]] && echo ON || echo OFF)
cmake -S "$here" -B "$work/consumer" -G Ninja -DCMAKE_PREFIX_PATH="$work/moved" \
  -DWITH_TESTKIT="$with_testkit"
cmake --build "$work/consumer"
"$work/consumer/consumer"
[[ $with_testkit == OFF ]] || "$work/consumer/consumer_test"

pc_dir=$(dirname "$(find "$work/moved" -name firn.pc)")
read -ra flags <<<"$(PKG_CONFIG_PATH=$pc_dir pkg-config --cflags --libs firn)"
$CXX -std=c++23 "$here/main.cc" -o "$work/consumer/by_pkg_config" "${flags[@]}"
LD_LIBRARY_PATH=$(dirname "$pc_dir") "$work/consumer/by_pkg_config"

# The shared build must be linked shared, the static one must not need the library at run time.
needs=$(objdump -p "$work/consumer/by_pkg_config" | grep -c 'NEEDED *libfirn.so.0.1$' || true)
[[ $needs -eq $([[ $kind == shared ]] && echo 1 || echo 0) ]] || { echo "linked wrongly"; exit 1; }
