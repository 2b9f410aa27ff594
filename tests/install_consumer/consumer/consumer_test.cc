// SPDX-License-Identifier: Apache-2.0
//
// A user's own test, with the installed test kit.
#include "firn/io/memory_storage.h"
#include "testkit/matchers.h"

namespace {

TEST(Consumer, GivenNoBlob_WhenOpened_ThenNotFound) {
  firn::MemoryStorage storage;

  EXPECT_THAT(storage.open("values", firn::as_bytes("a"), firn::OpenMode::read_only),
              firn::testkit::FailsWith(firn::Errc::not_found));
}

}  // namespace
