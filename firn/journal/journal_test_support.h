// SPDX-License-Identifier: Apache-2.0
//
// For the tests of the journals: a fixture over MemoryStorage that plants damage below a journal
// and reopens it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "firn/base/bytes.h"
#include "firn/base/endian.h"
#include "firn/io/blob_header.h"
#include "firn/io/memory_storage.h"
#include "firn/io/page_cache.h"
#include "firn/io/recovery_report.h"
#include "firn/journal/fixed_journal.h"
#include "firn/journal/indexed_value_log.h"
#include "firn/journal/section_name.h"
#include "firn/journal/value_log.h"
#include "testkit/matchers.h"
#include "testkit/memory_floors.h"

namespace firn {

using testkit::FailsWith;

// What a fixture opened. An ASSERT in reopen() ends only reopen(): a test that goes on although the
// opening failed ends here, because GoogleTest turns the exception of value() into a failure.
template <class T>
class Opened {
 public:
  Opened& operator=(std::unique_ptr<T> opened) {
    opened_ = std::move(opened);
    return *this;
  }
  void reset() { opened_.reset(); }
  T* operator->() const { return &**this; }
  T& operator*() const { return *opened_.value(); }

 private:
  std::optional<std::unique_ptr<T>> opened_;
};

// A storage, a cache, and what is done to blobs behind a journal's back. Offsets are logical.
class JournalTest : public ::testing::Test {
 protected:
  static constexpr std::string_view kIndex = "index";
  static constexpr std::string_view kValues = "values";

  static Bytes eight_bytes(uint64_t number) {
    Bytes bytes(sizeof number);
    store_big_endian(bytes.data(), number);
    return bytes;
  }

  // The same bytes for the same number, different ones for different numbers, never zero.
  static Bytes pattern(uint64_t number, size_t size) {
    Bytes bytes(size);
    for (size_t i = 0; i < size; ++i)
      bytes[i] = static_cast<std::byte>(1 + (number * 31 + i * 7) % 255);
    return bytes;
  }

  bool has_blob(std::string_view partition, uint64_t section) const {
    return storage_.raw(partition, journal::section_name(Section(section))).has_value();
  }

  Bytes blob(std::string_view partition, uint64_t section) const {
    const auto raw = storage_.raw(partition, journal::section_name(Section(section)));
    if (!raw) {
      ADD_FAILURE() << "no blob " << section << " in " << partition;
      return {};
    }
    return {raw->begin() + kBlobHeaderSizeBytes, raw->end()};
  }

  uint64_t blob_size(std::string_view partition, uint64_t section) const {
    return blob(partition, section).size();
  }

  // Cuts or zero-extends.
  void resize_blob(std::string_view partition, uint64_t section, uint64_t size) {
    const Bytes name = journal::section_name(Section(section));
    auto raw = storage_.raw(partition, name);
    ASSERT_TRUE(raw.has_value());
    raw->resize(kBlobHeaderSizeBytes + size);
    storage_.set_raw(partition, name, *std::move(raw));
  }

  // Overwrites or appends.
  void patch_blob(std::string_view partition, uint64_t section, uint64_t offset, ByteSpan bytes) {
    const Bytes name = journal::section_name(Section(section));
    auto raw = storage_.raw(partition, name);
    ASSERT_TRUE(raw.has_value());
    const size_t begin = kBlobHeaderSizeBytes + offset;
    if (raw->size() < begin + bytes.size()) raw->resize(begin + bytes.size());
    copy_bytes(MutableByteSpan(*raw).subspan(begin), bytes);
    storage_.set_raw(partition, name, *std::move(raw));
  }

  void remove_blob(std::string_view partition, uint64_t section) {
    const std::vector<Bytes> names = {journal::section_name(Section(section))};
    ASSERT_OK(storage_.remove(partition, names));
  }

  // Every durable byte of the storage except what recovery saved aside.
  std::vector<std::pair<std::string, Bytes>> all_blobs() const {
    std::vector<std::pair<std::string, Bytes>> all;
    storage_.for_each_durable([&](std::string_view partition, ByteSpan name, ByteSpan content) {
      if (partition != kLostFoundPartition)
        all.emplace_back(std::string(partition) + "/" + to_hex(name), to_bytes(content));
    });
    return all;
  }

  bool has_lost_found() {
    const auto partitions = storage_.partitions();
    return partitions && std::ranges::find(*partitions, kLostFoundPartition) != partitions->end();
  }

  MemoryStorage storage_;
  PageCache cache_{1 << 20};
  testkit::MemoryFloors floors_;
  Floors* used_floors_ = nullptr;  // null: a store of the original
  RecoveryReport report_;          // of the last open
};

// Sections of 32-byte records in pages of 44 bytes, as the original's tests have them.
class FixedJournalTest : public JournalTest {
 protected:
  static constexpr uint64_t kRecordSizeBytes = 32;

  FixedJournalOptions options() {
    FixedJournalOptions options;
    options.partition = std::string(kIndex);
    options.record_size_bytes = kRecordSizeBytes;
    options.page_size_bytes = 44;
    options.write_buffer_bytes = 1024;
    options.open_sections_max = open_sections_max_;
    options.cache = &cache_;
    options.floors = used_floors_;
    return options;
  }

  Result<std::unique_ptr<FixedJournal>> try_open(Storage& storage, bool read_only = false) {
    RecoveryLog recovery(storage, read_only);
    auto opened = FixedJournal::open(storage, options(), recovery);
    report_ = recovery.report();
    return opened;
  }

  // Drops the open journal as a killed program does, and opens it again.
  void reopen() {
    journal_.reset();
    ASSERT_OK_INTO(journal_, try_open(storage_));
  }

  static Bytes record(uint64_t number) { return pattern(number, kRecordSizeBytes); }

  Result<Position> append(uint64_t section, uint64_t number) {
    return journal_->append(Section(section), record(number));
  }

  void append_records(uint64_t section, uint64_t count) {
    for (uint64_t i = 0; i < count; ++i)
      ASSERT_OK(append(section, section * 100 + i));
  }

  Result<Bytes> get(uint64_t section, uint64_t position) const {
    Bytes out(kRecordSizeBytes);
    TRY(journal_->read(Section(section), Position(position), out));
    return out;
  }

  // Empty if the section is.
  Result<Bytes> last(uint64_t section) const {
    Bytes out(kRecordSizeBytes);
    TRY_INTO(const auto position, journal_->read_last(Section(section), out));
    return position ? out : Bytes();
  }

  struct Replayed {
    uint64_t section;
    uint64_t position;
    Bytes record;
    bool operator==(const Replayed&) const = default;
  };

  // What replay yields; fails with the first error.
  Result<std::vector<Replayed>> replay(uint64_t section, uint64_t position) const {
    TRY_INTO(FixedReplay items, journal_->replay(Section(section), Position(position), 100));
    std::vector<Replayed> all;
    while (true) {
      TRY_INTO(const auto item, items.next());
      if (!item) return all;
      all.push_back({item->section.value, item->position.value, to_bytes(item->record)});
    }
  }

  static std::vector<Replayed> expected(uint64_t section, uint64_t begin, uint64_t end) {
    std::vector<Replayed> all;
    for (uint64_t i = begin; i < end; ++i)
      all.push_back({section, i, record(section * 100 + i)});
    return all;
  }

  // Whatever is asked of the section, the answer tells of the damage.
  void expect_set_aside(uint64_t section, const std::string& part) {
    EXPECT_THAT(journal_->damaged(), ::testing::ElementsAre(::testing::Key(Section(section))));
    EXPECT_EQ(report_.damage.size(), 1u);
    EXPECT_TRUE(floors_.is_kept_unclean());
    EXPECT_THAT(get(section, 0), FailsWith(Errc::corrupt, part));
    EXPECT_THAT(last(section), FailsWith(Errc::corrupt, part));
    EXPECT_THAT(journal_->size(Section(section)), FailsWith(Errc::corrupt, part));
    EXPECT_THAT(replay(0, 0), FailsWith(Errc::corrupt, part));
    EXPECT_THAT(append(section, 1), FailsWith(Errc::corrupt, part));
    EXPECT_THAT(journal_->rewind(Section(section), 0), FailsWith(Errc::corrupt, part));
    EXPECT_THAT(journal_->rewind_section(Section(section), 0), FailsWith(Errc::corrupt, part));
  }

  size_t open_sections_max_ = 128;
  Opened<FixedJournal> journal_;
};

// Entries of id, offset and size (20 bytes) that own values of 16 bytes, 20 in the value blob.
class IndexedValueLogTest : public JournalTest {
 protected:
  static constexpr uint64_t kEntrySizeBytes = 20;
  static constexpr uint64_t kStoredSizeBytes = 20;
  static constexpr uint64_t kPagedEntrySizeBytes = 32;  // with one entry a page
  static constexpr size_t kValueSizeBytes = 16;

  struct Entry {
    uint64_t id;
    ValueLocation location;
    bool operator==(const Entry&) const = default;
  };

  void use_one_entry_a_page() { page_size_bytes_ = kEntrySizeBytes; }
  void use_floors() { used_floors_ = &floors_; }

  IndexedValueLogOptions options() {
    IndexedValueLogOptions options;
    options.index.partition = std::string(kIndex);
    options.index.record_size_bytes = kEntrySizeBytes;
    options.index.page_size_bytes = page_size_bytes_;
    options.index.write_buffer_bytes = 1024;
    options.index.open_sections_max = open_sections_max_;
    options.index.cache = &cache_;
    options.index.floors = used_floors_;
    options.values.partition = std::string(kValues);
    options.values.write_buffer_bytes = 1024;
    options.values.open_sections_max = open_sections_max_;
    return options;
  }

  Result<std::unique_ptr<IndexedValueLog>> try_open(Storage& storage, bool read_only = false) {
    RecoveryLog recovery(storage, read_only);
    auto opened = IndexedValueLog::open(storage, options(), recovery);
    report_ = recovery.report();
    return opened;
  }

  void reopen() {
    log_.reset();
    ASSERT_OK_INTO(log_, try_open(storage_));
  }

  static Bytes value(uint64_t id) { return pattern(id, kValueSizeBytes); }

  Result<IndexedValueLog::Appended> append(uint64_t section, uint64_t id) {
    return log_->append(Section(section), eight_bytes(id), value(id));
  }

  // Appends `count` entries whose ids tell section and position.
  void append_entries(uint64_t section, uint64_t count) {
    for (uint64_t i = 0; i < count; ++i) {
      ASSERT_OK_INTO(const uint64_t position, log_->entry_count(Section(section)));
      ASSERT_OK_INTO(const auto appended, append(section, id_of(section, position)));
      ASSERT_EQ(appended.position, Position(position));
    }
  }

  static uint64_t id_of(uint64_t section, uint64_t position) { return section * 1000 + position; }

  Result<Entry> get(uint64_t section, uint64_t position) const {
    Bytes out(kEntrySizeBytes);
    TRY(log_->read_entry(Section(section), Position(position), out));
    return Entry{load_big_endian<uint64_t>(out.data()), IndexedValueLog::location_of(out)};
  }

  Result<Bytes> get_value(uint64_t section, ValueLocation location) const {
    TRY_INTO(const Value read, log_->read_value(Section(section), location));
    return to_bytes(read.bytes());
  }

  // Entry and value of a position are what append_entries wrote.
  void expect_entry(uint64_t section, uint64_t position) const {
    SCOPED_TRACE(::testing::Message() << "section " << section << ", position " << position);
    ASSERT_OK_INTO(const Entry entry, get(section, position));
    EXPECT_EQ(entry.id, id_of(section, position));
    ASSERT_OK_INTO(const Bytes read, get_value(section, entry.location));
    EXPECT_EQ(read, value(entry.id));
  }

  // The section holds exactly `count` entries of append_entries, with their values.
  void expect_entries(uint64_t section, uint64_t count) const {
    for (uint64_t position = 0; position < count; ++position)
      expect_entry(section, position);
    EXPECT_THAT(get(section, count), FailsWith(Errc::out_of_range));
  }

  uint64_t value_size(uint64_t section) const {
    const auto size = log_->value_size(Section(section));
    EXPECT_OK(size);
    return size.value_or(UINT64_MAX);
  }

  // Value blobs without index sections: what a crash between two removals leaves.
  void plant_value_sections(const std::vector<uint64_t>& sections) {
    RecoveryLog recovery(storage_, false);
    ASSERT_OK_INTO(auto values, ValueLog::open(storage_, options().values, recovery));
    for (const uint64_t section : sections)
      ASSERT_OK(values->append(Section(section), value(section)));
    ASSERT_OK(values->sync_all());
  }

  uint32_t page_size_bytes_ = 64;
  size_t open_sections_max_ = 128;
  Opened<IndexedValueLog> log_;
};

}  // namespace firn
