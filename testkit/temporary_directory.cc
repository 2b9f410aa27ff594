// SPDX-License-Identifier: Apache-2.0
#include "testkit/temporary_directory.h"

#include <cstdlib>
#include <filesystem>
#include <system_error>

#include <gtest/gtest.h>

#include "firn/base/check.h"

namespace firn::testkit {

TemporaryDirectory::TemporaryDirectory() : path_(testing::TempDir() + "firn_test_XXXXXX") {
  CHECK(::mkdtemp(path_.data()) != nullptr, "tests need a directory that they can write to");
}

TemporaryDirectory::~TemporaryDirectory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace firn::testkit
