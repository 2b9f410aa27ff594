// SPDX-License-Identifier: Apache-2.0
//
// Reads between the steps of a prune, and a prune between the steps of a read: every place where a
// read or a change waits for the disk, one after another, in one thread. A reader gets the value,
// or is told that it was pruned; never that the store is damaged.
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "firn/archive/archive_fixture.h"
#include "firn/archive/prunable_archive.h"
#include "firn/io/memory_storage.h"
#include "testkit/forwarding_storage.h"
#include "testkit/matchers.h"

namespace firn {
namespace {

using archive::answer;
using archive::Archive;
using archive::get;
using archive::get_all;
using archive::key_of;
using archive::put;
using testkit::ForwardingBlob;
using testkit::ForwardingStorage;

// A storage on which something else happens right before one of its reads or changes. No lock that
// the other needs may be held there, or the test does not end.
class InterruptedStorage final : public ForwardingStorage {
 public:
  using ForwardingStorage::ForwardingStorage;

  enum class Moment : uint8_t { read, change };
  // Once, before the n-th (from 1) such call from now on.
  void interrupt(Moment moment, uint64_t n, std::function<void()> other) {
    moment_ = moment;
    calls_left_ = n;
    other_ = std::move(other);
  }
  // Whether there was an n-th call.
  [[nodiscard]] bool was_interrupted() const { return other_ == nullptr; }

  Status remove(std::string_view partition, std::span<const Bytes> names) override {
    arrive(Moment::change);
    return ForwardingStorage::remove(partition, names);
  }

 private:
  class InterruptedBlob final : public ForwardingBlob {
   public:
    InterruptedBlob(InterruptedStorage& storage, std::unique_ptr<Blob> inner)
        : ForwardingBlob(std::move(inner)), storage_(storage) {}

    Status read_at(uint64_t offset, MutableByteSpan out) override {
      storage_.arrive(Moment::read);
      return ForwardingBlob::read_at(offset, out);
    }
    Status write_at(uint64_t offset, std::span<const ByteSpan> buffers) override {
      storage_.arrive(Moment::change);
      return ForwardingBlob::write_at(offset, buffers);
    }
    Status resize(uint64_t size) override {
      storage_.arrive(Moment::change);
      return ForwardingBlob::resize(size);
    }
    Status sync() override {
      storage_.arrive(Moment::change);
      return ForwardingBlob::sync();
    }

   private:
    InterruptedStorage& storage_;
  };

  std::unique_ptr<Blob> wrap(std::unique_ptr<Blob> blob, std::string_view, ByteSpan) override {
    return std::make_unique<InterruptedBlob>(*this, std::move(blob));
  }

  void arrive(Moment moment) {
    if (other_ == nullptr || moment != moment_ || --calls_left_ > 0) return;
    std::exchange(other_, nullptr)();
  }

  Moment moment_ = Moment::read;
  uint64_t calls_left_ = 0;
  std::function<void()> other_;
};

using Moment = InterruptedStorage::Moment;

constexpr uint64_t kOld = 3;   // in the section that is pruned
constexpr uint64_t kNew = 13;  // in one that stays
constexpr uint64_t kBoundary = 10;

std::string value_at(uint64_t index) {
  return concat("value of ", index);
}

std::string key_at(uint64_t index) {
  return concat("key", index);
}

// Two sections of ten items each, and nothing in the page cache.
class ArchiveInterleaving : public ::testing::Test {
 protected:
  void SetUp() override {
    archive_.reset();
    memory_ = std::make_unique<MemoryStorage>();
    storage_ = std::make_unique<InterruptedStorage>(*memory_);
    open();
    for (uint64_t index = 0; index < 2 * kBoundary; ++index)
      ASSERT_OK(put(archive_, index, key_at(index), value_at(index)));
    ASSERT_OK(archive_->close());
    open();
  }

  void open() {
    PrunableArchiveOptions options;
    options.key_size_bytes = 16;
    options.items_per_section = kBoundary;
    options.page_size_bytes = 64;
    options.page_cache_bytes = 0;
    archive_.reset();
    ASSERT_OK_INTO(archive_, PrunableArchive::open(*storage_, options));
  }

  using Read = std::function<std::string(uint64_t index)>;

  std::string read_found(const Result<std::optional<ArchiveItem>>& item) const {
    if (!item) return concat("error: ", errc_name(item.error().code));
    if (!*item) return "absent";
    const auto value = archive_->read_value(**item);
    if (value) return std::string(as_text(value->bytes()));
    if (value.error().code == Errc::pruned) return "absent";
    return concat("error: ", errc_name(value.error().code));
  }

  // All ways to a value.
  std::vector<std::pair<std::string, Read>> reads() {
    const auto key_bytes = [](uint64_t index) { return key_of(key_at(index), 16); };
    return {
        {"get by index", [&](uint64_t index) { return get(archive_, index); }},
        {"get by key", [&](uint64_t index) { return get(archive_, key_at(index)); }},
        {"get all", [&](uint64_t index) { return get_all(archive_, index); }},
        {"get many",
         [this](uint64_t index) { return answer(archive_->get_many(std::vector{index})[0]); }},
        {"get many by key",
         [this, key_bytes](uint64_t index) {
           const Bytes key = key_bytes(index);
           return answer(archive_->get_many(std::vector{ByteSpan(key)})[0]);
         }},
        {"find by index, read",
         [this](uint64_t index) { return read_found(archive_->find(index)); }},
        {"find by key, read",
         [this, key_bytes](uint64_t index) {
           return read_found(archive_->find(key_bytes(index)));
         }},
        {"visit, read",
         [this](uint64_t index) {
           std::string seen = "absent";
           const Status visited =
               archive_->visit(index, index, false, [&](const ArchiveItem& item) {
                 seen = read_found(std::optional(item));
                 return true;
               });
           return visited ? seen : concat("error: ", errc_name(visited.error().code));
         }},
    };
  }

  std::unique_ptr<MemoryStorage> memory_;
  std::unique_ptr<InterruptedStorage> storage_;
  Archive archive_;
};

TEST_F(ArchiveInterleaving, WhenPrunedInsideARead_ThenItAnswersTheValueOrAbsent) {
  uint64_t interruptions = 0;
  for (const auto& [name, read] : reads()) {
    bool interrupted = true;
    for (uint64_t n = 1; interrupted; ++n) {
      SCOPED_TRACE(concat(name, ", pruned before read ", n));
      SetUp();
      storage_->interrupt(Moment::read, n, [&] { ASSERT_OK(archive_->prune(kBoundary)); });

      const std::string seen = read(kOld);

      interrupted = storage_->was_interrupted();
      EXPECT_TRUE(seen == value_at(kOld) || (interrupted && seen == "absent")) << seen;
      storage_->interrupt(Moment::read, 0, nullptr);
      EXPECT_EQ(read(kOld), interrupted ? "absent" : value_at(kOld));
      interruptions += interrupted ? 1 : 0;
      EXPECT_EQ(read(kNew), value_at(kNew));
    }
  }
  EXPECT_GE(interruptions, 2 * reads().size());  // the record, and the value
}

TEST_F(ArchiveInterleaving, WhenReadBetweenTheStepsOfAPrune_ThenEachReadAnswersValueOrAbsent) {
  uint64_t interruptions = 0;
  for (const auto& [name, read] : reads()) {
    bool interrupted = true;
    for (uint64_t n = 1; interrupted; ++n) {
      SCOPED_TRACE(concat(name, ", before change ", n, " of the prune"));
      SetUp();
      storage_->interrupt(Moment::change, n, [&] {
        const std::string seen = read(kOld);
        EXPECT_TRUE(seen == value_at(kOld) || seen == "absent") << seen;
        EXPECT_EQ(read(kNew), value_at(kNew));
      });

      ASSERT_OK(archive_->prune(kBoundary));

      interrupted = storage_->was_interrupted();
      interruptions += interrupted ? 1 : 0;
      EXPECT_EQ(read(kOld), "absent");
    }
  }
  EXPECT_GE(interruptions, 4 * reads().size());  // the boundary, two partitions
}

// The item is located before the prune begins, and its value is read at each step of it.
TEST_F(ArchiveInterleaving, GivenAnItem_WhenItsValueIsReadBetweenTheSteps_ThenValueOrPruned) {
  uint64_t pruned = 0;
  uint64_t values = 0;
  bool interrupted = true;
  for (uint64_t n = 1; interrupted; ++n) {
    SCOPED_TRACE(concat("before change ", n, " of the prune"));
    SetUp();
    ASSERT_OK_INTO(const auto item, archive_->find(kOld));
    ASSERT_TRUE(item);
    storage_->interrupt(Moment::change, n, [&] {
      const auto value = archive_->read_value(*item);
      ++(value ? values : pruned);
      EXPECT_EQ(read_found(item), value ? value_at(kOld) : "absent");
    });

    ASSERT_OK(archive_->prune(kBoundary));

    interrupted = storage_->was_interrupted();
    EXPECT_THAT(archive_->read_value(*item), testkit::FailsWith(Errc::pruned));
  }
  EXPECT_GT(values, 0u);
  EXPECT_GT(pruned, 0u);
}

}  // namespace
}  // namespace firn
