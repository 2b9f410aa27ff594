// SPDX-License-Identifier: Apache-2.0
//
// A read that is in a system call while its section is closed as idle, opened anew and rewound.
#include <functional>
#include <utility>

#include <gtest/gtest.h>

#include "firn/io/memory_storage.h"
#include "firn/io/page_cache.h"
#include "firn/journal/fixed_journal.h"
#include "testkit/forwarding_storage.h"
#include "testkit/matchers.h"

namespace firn {
namespace {

constexpr uint32_t kRecordBytes = 4;
constexpr uint64_t kRecords = 64;  // four full pages

enum class Moment : uint8_t { before_the_call, after_the_call };

// Does something once, at the next read of section 1.
class InterruptedStorage : public testkit::ForwardingStorage {
 public:
  InterruptedStorage(Storage& inner, Moment moment) : ForwardingStorage(inner), moment_(moment) {}

  std::function<void()> interruption;

 private:
  class InterruptedBlob : public testkit::ForwardingBlob {
   public:
    InterruptedBlob(std::unique_ptr<Blob> inner, InterruptedStorage& storage)
        : ForwardingBlob(std::move(inner)), storage_(storage) {}
    Status read_at(uint64_t offset, MutableByteSpan out) override {
      if (storage_.moment_ == Moment::before_the_call) storage_.interrupt();
      Status read = ForwardingBlob::read_at(offset, out);
      if (storage_.moment_ == Moment::after_the_call) storage_.interrupt();
      return read;
    }

   private:
    InterruptedStorage& storage_;
  };

  std::unique_ptr<Blob> wrap(std::unique_ptr<Blob> inner, std::string_view,
                             ByteSpan name) override {
    if (name.back() != std::byte{1}) return inner;
    return std::make_unique<InterruptedBlob>(std::move(inner), *this);
  }
  void interrupt() {
    if (interruption) std::exchange(interruption, nullptr)();
  }

  const Moment moment_;
};

class ReadBesideRewind : public testing::TestWithParam<Moment> {
 protected:
  void SetUp() override {
    RecoveryLog recovery(storage_, false);
    FixedJournalOptions options;
    options.partition = "journal";
    options.record_size_bytes = kRecordBytes;
    options.page_size_bytes = 64;
    options.open_sections_max = 1;
    options.cache = &cache_;
    ASSERT_OK_INTO(journal_, FixedJournal::open(storage_, options, recovery));
  }

  void append(uint64_t section, std::byte byte) {
    for (uint64_t i = 0; i < kRecords; ++i)
      ASSERT_OK(journal_->append(Section(section), Bytes(kRecordBytes, byte)));
    ASSERT_OK(journal_->sync(Section(section)));
  }
  Result<Bytes> get(uint64_t section, uint64_t position) {
    Bytes out(kRecordBytes);
    TRY(journal_->read(Section(section), Position(position), out));
    return out;
  }

  MemoryStorage memory_;
  InterruptedStorage storage_{memory_, GetParam()};
  PageCache cache_{1 << 20};
  std::unique_ptr<FixedJournal> journal_;
};

INSTANTIATE_TEST_SUITE_P(Moments, ReadBesideRewind,
                         testing::Values(Moment::before_the_call, Moment::after_the_call));

TEST_P(ReadBesideRewind, GivenAReadInASystemCall_WhenItsSectionIsRewound_ThenNoOldByteIsSeenLater) {
  const Bytes old_record(kRecordBytes, std::byte{1});
  const Bytes new_record(kRecordBytes, std::byte{9});
  append(1, std::byte{1});
  append(2, std::byte{2});
  ASSERT_EQ(get(1, kRecords - 1), old_record);  // opens section 1 again
  storage_.interruption = [&] {
    ASSERT_OK(get(2, 0));  // opens section 2, and closes what is idle
    ASSERT_OK(journal_->rewind_section(Section(1), 0));
    append(1, std::byte{9});
  };

  const auto read = get(1, 20);

  ASSERT_FALSE(storage_.interruption) << "the page was cached";
  EXPECT_TRUE(read == old_record || read == new_record);
  for (uint64_t position = 0; position < kRecords; ++position)
    EXPECT_EQ(get(1, position), new_record) << position;
}

}  // namespace
}  // namespace firn
