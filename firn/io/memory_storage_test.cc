// SPDX-License-Identifier: Apache-2.0
//
// What is special to MemoryStorage: shared visible bytes, durable bytes, planted content.
#include "firn/io/memory_storage.h"

#include <gtest/gtest.h>

#include "testkit/matchers.h"

namespace firn {
namespace {

using testkit::FailsWith;

const Bytes kBlobName = to_bytes(as_bytes("name"));

std::string durable_text(const MemoryStorage& storage) {
  std::string text;
  storage.for_each_durable([&](std::string_view partition, ByteSpan name, ByteSpan content) {
    text += std::string(partition) + "/" + std::string(as_text(name)) + "=" +
            std::string(as_text(content.subspan(8))) + ";";
  });
  return text;
}

TEST(MemoryStorage, GivenNewBlob_WhenOpened_ThenItsHeaderIsDurable) {
  MemoryStorage storage;

  ASSERT_OK_INTO(const auto blob, storage.open("p", kBlobName, OpenMode::create, {0, 7}));

  EXPECT_EQ(blob->size(), 0u);
  EXPECT_EQ(blob->version(), 7);
  EXPECT_EQ(to_hex(*storage.raw("p", kBlobName)), "4357494300000007");
  EXPECT_EQ(durable_text(storage), "p/name=;");
}

TEST(MemoryStorage, GivenTwoHandles_WhenOneWrites_ThenTheOtherReads) {
  MemoryStorage storage;
  ASSERT_OK_INTO(const auto first, storage.open("p", kBlobName, OpenMode::create));
  ASSERT_OK_INTO(const auto second, storage.open("p", kBlobName, OpenMode::read_only));

  ASSERT_OK(first->write_at(2, as_bytes("xy")));

  Bytes read(4);
  ASSERT_OK(second->read_at(0, read));
  EXPECT_EQ(to_hex(read), "00007879");
  EXPECT_THAT(second->write_at(0, as_bytes("z")), FailsWith(Errc::invalid_argument));
}

TEST(MemoryStorage, GivenUnsyncedChanges_WhenLost_ThenDurableBytesAreBack) {
  MemoryStorage storage;
  ASSERT_OK_INTO(const auto blob, storage.open("p", kBlobName, OpenMode::create));
  ASSERT_OK(blob->write_at(0, as_bytes("abcdef")));
  ASSERT_OK(blob->sync());
  ASSERT_OK(blob->write_at(1, as_bytes("XX")));
  ASSERT_OK(blob->resize(3));
  ASSERT_OK(blob->resize(20));

  storage.lose_unsynced();

  EXPECT_EQ(blob->size(), 6u);
  EXPECT_EQ(durable_text(storage), "p/name=abcdef;");
}

TEST(MemoryStorage, GivenShrinkAndRegrowth_WhenSynced_ThenTheGapIsZeros) {
  MemoryStorage storage;
  ASSERT_OK_INTO(const auto blob, storage.open("p", kBlobName, OpenMode::create));
  ASSERT_OK(blob->write_at(0, as_bytes("abcdef")));
  ASSERT_OK(blob->sync());

  ASSERT_OK(blob->resize(2));
  ASSERT_OK(blob->write_at(5, as_bytes("z")));
  ASSERT_OK(blob->sync());

  EXPECT_EQ(durable_text(storage), std::string("p/name=ab\0\0\0z;", 14));
}

TEST(MemoryStorage, GivenManySmallSyncs_WhenAudited_ThenDurableEqualsVisible) {
  MemoryStorage storage;
  ASSERT_OK_INTO(const auto blob, storage.open("p", kBlobName, OpenMode::create));

  for (uint64_t i = 0; i < 100; ++i) {
    ASSERT_OK(blob->write_at(i * 7 % 50, as_bytes("123")));
    if (i % 3 == 0) {
      ASSERT_OK(blob->resize(20 + i % 40));
    }
    ASSERT_OK(blob->sync());
  }

  const Bytes visible = *storage.raw("p", kBlobName);
  storage.lose_unsynced();
  EXPECT_EQ(visible, *storage.raw("p", kBlobName));
}

TEST(MemoryStorage, GivenShortRawContent_WhenOpened_ThenResetToEmpty) {
  MemoryStorage storage;
  storage.set_raw("p", kBlobName, Bytes(3));

  ASSERT_OK_INTO(const auto reader, storage.open("p", kBlobName, OpenMode::read_only));
  EXPECT_EQ(reader->size(), 0u);
  EXPECT_EQ(storage.raw("p", kBlobName)->size(), 3u);
  ASSERT_OK_INTO(const auto writer, storage.open("p", kBlobName, OpenMode::read_write));

  EXPECT_EQ(writer->size(), 0u);
  EXPECT_EQ(to_hex(*storage.raw("p", kBlobName)), "4357494300000000");
}

TEST(MemoryStorage, GivenDamagedHeaders_WhenOpened_ThenRefused) {
  MemoryStorage storage;
  storage.set_raw("p", as_bytes("magic"), Bytes(8));
  storage.set_raw("p", as_bytes("header"), *from_hex("4357494300010000"));
  storage.set_raw("p", as_bytes("blob"), *from_hex("4357494300000001"));

  EXPECT_THAT(storage.open("p", as_bytes("magic"), OpenMode::create),
              FailsWith(Errc::corrupt, "invalid magic"));
  EXPECT_THAT(storage.open("p", as_bytes("header"), OpenMode::create),
              FailsWith(Errc::unsupported_version));
  EXPECT_THAT(storage.open("p", as_bytes("blob"), OpenMode::create, {2, 3}),
              FailsWith(Errc::unsupported_version));
  EXPECT_OK(storage.open("p", as_bytes("blob"), OpenMode::create, {0, 2}));
}

TEST(MemoryStorage, GivenModes_WhenOpened_ThenExistenceIsChecked) {
  MemoryStorage storage;

  EXPECT_THAT(storage.open("p", kBlobName, OpenMode::read_only), FailsWith(Errc::not_found));
  EXPECT_THAT(storage.open("p", kBlobName, OpenMode::read_write), FailsWith(Errc::not_found));
  EXPECT_OK(storage.open("p", kBlobName, OpenMode::create_new));
  EXPECT_THAT(storage.open("p", kBlobName, OpenMode::create_new),
              FailsWith(Errc::invalid_argument));
  EXPECT_THAT(storage.open("../p", kBlobName, OpenMode::create), FailsWith(Errc::invalid_argument));
  EXPECT_THAT(storage.open("p", {}, OpenMode::create), FailsWith(Errc::invalid_argument));
  EXPECT_THAT(storage.open("p", Bytes(128), OpenMode::create), FailsWith(Errc::invalid_argument));
}

TEST(MemoryStorage, GivenRemovedBlob_WhenHandleIsUsed_ThenItStillWorks) {
  MemoryStorage storage;
  ASSERT_OK_INTO(const auto blob, storage.open("p", kBlobName, OpenMode::create));
  ASSERT_OK(blob->write_at(0, as_bytes("abc")));

  ASSERT_OK(storage.remove("p", std::vector<Bytes>{kBlobName, Bytes(1)}));

  Bytes read(3);
  ASSERT_OK(blob->read_at(0, read));
  ASSERT_OK(blob->sync());
  ASSERT_OK_INTO(const auto names, storage.scan("p"));
  EXPECT_TRUE(names.empty());
  EXPECT_FALSE(storage.raw("p", kBlobName).has_value());
}

TEST(MemoryStorage, GivenLocks_WhenTaken_ThenExclusiveExcludes) {
  MemoryStorage storage;
  ASSERT_OK_INTO(auto shared, storage.lock(LockMode::shared));
  EXPECT_OK(storage.lock(LockMode::shared));
  EXPECT_THAT(storage.lock(LockMode::exclusive), FailsWith(Errc::locked));

  shared.reset();

  ASSERT_OK_INTO(const auto exclusive, storage.lock(LockMode::exclusive));
  EXPECT_THAT(storage.lock(LockMode::shared), FailsWith(Errc::locked));
}

}  // namespace
}  // namespace firn
