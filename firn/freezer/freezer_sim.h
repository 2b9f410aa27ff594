// SPDX-License-Identifier: Apache-2.0
//
// The crash scenario of Freezer: puts of new keys and of known ones, batches, flushes, doublings of
// the table, rebuilding, closing and reopening with the table in memory or on disk, and going back
// to an earlier checkpoint; all under options that the seed draws. A reader of another process
// follows.
//
// The model: every put in order, how many of them a sync has acknowledged, and the states that the
// store may be going back to.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "firn/base/bytes.h"
#include "firn/base/random.h"
#include "firn/base/text.h"
#include "firn/freezer/freezer.h"
#include "testkit/crash_harness.h"
#include "testkit/rare_findings.h"

namespace firn::freezer {

class FreezerScenario : public testkit::Scenario {
 public:
  explicit FreezerScenario(Random& config) {
    options_.key_size_bytes = static_cast<uint32_t>(config.between(1, 40));
    options_.page_size_bytes =
        static_cast<uint32_t>(config.between(1, config.one_in(2) ? 60 : 600));
    if (config.one_in(3)) options_.compression_level = static_cast<int>(config.between(1, 3));
    options_.table.initial_size = uint32_t{1} << config.below(config.one_in(4) ? 10 : 7);
    options_.table.resize_frequency = static_cast<uint32_t>(config.between(1, 4));
    options_.table.resize_chunk = static_cast<uint32_t>(config.between(1, 16));
    keys_ = config.between(1, config.one_in(2) ? 12 : 200);
    value_size_max_ = config.between(1, config.one_in(4) ? 2000 : 60);
    sync_once_in_ = config.between(2, 12);
    reopen_once_in_ = config.between(4, 40);
    rebuild_once_in_ = config.between(10, 80);
    batch_once_in_ = config.between(2, 8);
    read_once_in_ = config.between(2, 6);
    rewind_once_in_ = config.between(2, 8);
    draw_open_options(config);
    follow_random_ = Random(config.next());
    follow_once_in_ = follow_random_.between(3, 30);
  }

  [[nodiscard]] Status open(Storage& storage) override {
    storage_ = &storage;
    is_broken_ = false;
    TRY(open_freezer(std::nullopt));
    const FreezerStatistics now = freezer_->statistics();
    const auto doubled_from = std::exchange(doubled_from_, std::nullopt);
    if (!now.resident && doubled_from == now.table_size) found_.met(kTakenBack);
    return {};
  }

  [[nodiscard]] Status step(Random& random) override {
    if (!freezer_) return open_freezer(std::nullopt);
    if (follow_random_.one_in(follow_once_in_)) return follow();
    if (random.one_in(read_once_in_)) return read(random);
    if (random.one_in(sync_once_in_)) return sync();
    if (random.one_in(rebuild_once_in_)) return watch(freezer_->rebuild_table());
    if (random.one_in(reopen_once_in_)) {
      std::optional<size_t> back;
      if (!checkpoints_.empty() && random.one_in(rewind_once_in_))
        back = random.below(checkpoints_.size());
      TRY(close());
      draw_open_options(random);
      return back ? go_back(*back) : open_freezer(std::nullopt);
    }
    const uint64_t count = random.one_in(batch_once_in_) ? random.between(2, 6) : 1;
    std::vector<Record> records;
    for (uint64_t i = 0; i < count; ++i)
      records.push_back({key(random.below(keys_)), random.bytes(random.below(value_size_max_))});
    return put(records);
  }

  [[nodiscard]] size_t alphabet_size() const override { return 5; }

  [[nodiscard]] Status perform(size_t operation) override {
    if (!freezer_) return open_freezer(std::nullopt);
    ++performed_;
    const Bytes value(performed_ * 7, std::byte(performed_));
    switch (operation) {
      case 0: return put({{key(performed_), value}});
      case 1: return put({{key(0), value}, {key(performed_), value}});
      case 2: return sync();
      case 3: return watch(freezer_->rebuild_table());
      default: TRY(close()); return open_freezer(std::nullopt);
    }
  }

  [[nodiscard]] std::optional<std::string> check() override {
    if (!problem_) problem_ = adopt_records();
    if (!problem_) problem_ = check_keys();
    if (!problem_) problem_ = check_files();
    return problem_;
  }

  void crash() override {
    if (freezer_) note_crash(freezer_->statistics());
    follower_.reset();
    freezer_.reset();
  }

  [[nodiscard]] Reached reached() const override { return found_.counts(); }

 private:
  struct Record {
    Bytes key;
    Bytes value;
  };
  struct Committed {
    FreezerCheckpoint checkpoint;
    size_t count;  // of records
  };

  static constexpr std::string_view kLeftMemory = "a store leaves memory";
  static constexpr std::string_view kCrashLeaving = "a crash while a store leaves memory";
  static constexpr std::string_view kCrashWriting =
      "a crash while a table that doubled in memory is written";
  static constexpr std::string_view kCrashOnDisk = "a crash inside a doubling on disk";
  static constexpr std::string_view kTakenBack = "a recovery takes back a doubling on disk";

  void note_crash(const FreezerStatistics& now) {
    if (now.leaving) found_.met(kCrashLeaving);
    if (is_closing_ && now.resident && now.table_size > opened_size_) found_.met(kCrashWriting);
    if (!now.resizing || now.resident) return;
    found_.met(kCrashOnDisk);
    doubled_from_ = now.table_size;
  }

  // What may differ from one open to the next.
  void draw_open_options(Random& random) {
    options_.table.writing = random.one_in(3) ? TableWriting::immediate : TableWriting::deferred;
    const uint64_t kind = random.below(4);
    options_.memory_budget_bytes = kind == 0 ? 0 : kind == 1 ? random.below(4096) : 1 << 20;
    // Just enough for an open in memory: the first put makes the store leave it.
    if (kind == 2) options_.memory_budget_bytes = (64 << 10) + random.below(16 << 10);
    options_.section_target_bytes = random.below(random.one_in(2) ? 100 : 4000);
    options_.write_buffer_bytes = random.below(random.one_in(2) ? 100 : 3000);
    options_.page_cache_bytes = random.one_in(4) ? 0 : 1 << 16;
    options_.open_sections_max = random.between(1, 6);
  }

  [[nodiscard]] Bytes key(uint64_t number) const {
    Bytes key(*options_.key_size_bytes);
    for (size_t i = 0; i < std::min<size_t>(8, key.size()); ++i)
      key[key.size() - 1 - i] = std::byte(number >> (8 * i));
    return key;
  }

  Status open_freezer(const std::optional<FreezerCheckpoint>& checkpoint) {
    FreezerOptions options = options_;
    options.checkpoint = checkpoint;
    TRY_INTO(freezer_, Freezer::open(*storage_, options));
    found_.count(freezer_->recovery());
    is_closing_ = false;
    opened_size_ = freezer_->statistics().table_size;
    if (!is_going_back_) return {};
    is_going_back_ = false;
    const uint64_t count = freezer_->item_count();
    if (count < acknowledged_ || count > records_.size())
      note(concat(count, " items are there after going back to ", acknowledged_));
    records_.resize(std::clamp<size_t>(count, acknowledged_, records_.size()));
    return {};
  }

  // After a change failed half-way, all others must fail.
  Status watch(Status outcome) {
    if (is_broken_ && outcome && !problem_) problem_ = "a change succeeded after one had failed";
    if (!outcome) is_broken_ = !freezer_->check_writable().has_value();
    return outcome;
  }

  Status put(const std::vector<Record>& records) {
    const size_t before = records_.size();
    if (!is_broken_) records_.insert(records_.end(), records.begin(), records.end());
    std::vector<FreezerPut> puts;
    puts.reserve(records.size());
    for (const Record& record : records)
      puts.push_back({record.key, record.value});
    const bool was_resident = freezer_->statistics().resident;
    Status outcome;
    if (puts.size() == 1) {
      outcome = status_of(freezer_->put(puts[0].key, puts[0].value));
    } else {
      outcome = status_of(freezer_->put_many(puts));
    }
    if (was_resident && !freezer_->statistics().resident) found_.met(kLeftMemory);
    Status watched = watch(std::move(outcome));
    // Refused before anything was written; of a batch, the first ones may have been put.
    if (!watched && !is_broken_)
      records_.resize(std::clamp<size_t>(freezer_->item_count(), before, records_.size()));
    return watched;
  }

  template <class T>
  static Status status_of(const Result<T>& result) {
    if (result) return {};
    return fail(result.error().code, result.error().message);
  }

  void acknowledge(const FreezerCheckpoint& checkpoint) {
    acknowledged_ = records_.size();
    checkpoints_.push_back({checkpoint, acknowledged_});
  }

  Status sync() {
    const bool was_broken = is_broken_;
    const auto checkpoint = freezer_->sync();
    TRY(watch(status_of(checkpoint)));
    if (!was_broken) acknowledge(*checkpoint);
    return {};
  }

  Status close() {
    is_closing_ = true;
    const auto checkpoint = freezer_->close();
    TRY(watch(found_.watch_close(status_of(checkpoint))));
    acknowledge(*checkpoint);
    freezer_.reset();
    return {};
  }

  // Until the open succeeds, any state from the checkpoint on may be found.
  Status go_back(size_t to) {
    const Committed committed = checkpoints_[to];
    follower_.reset();  // it would be in the way
    acknowledged_ = committed.count;
    checkpoints_.resize(to + 1);
    is_going_back_ = true;
    TRY(open_freezer(committed.checkpoint));
    if (records_.size() != committed.count)
      note(concat("went back to ", committed.count, " items, but ", records_.size(), " are there"));
    return {};
  }

  [[nodiscard]] const Record* newest(const Bytes& key, size_t count) const {
    for (size_t i = count; i-- > 0;)
      if (records_[i].key == key) return &records_[i];
    return nullptr;
  }

  // Reads a key and compares, unless a failed change made the answer uncertain.
  Status read(Random& random) {
    const Bytes wanted = key(random.below(keys_ + 2));
    TRY_INTO(const auto value, freezer_->get(wanted));
    TRY_INTO(const auto presence, freezer_->contains(wanted));
    if (is_broken_) return {};
    const Record* const expected = newest(wanted, records_.size());
    if (value.has_value() != (expected != nullptr) ||
        (presence == Freezer::Presence::present) != value.has_value()) {
      note(concat(
          "during the run ",
          expected == nullptr ? "a key is there that was not put" : "a key that was put is missing",
          "; get and contains ", value.has_value() ? "find" : "do not find", " and ",
          presence == Freezer::Presence::present ? "find" : "do not find", " it"));
    } else if (expected != nullptr && !equal_bytes(value->bytes(), expected->value)) {
      note("a key has a wrong value during the run");
    }
    return {};
  }

  // What a reader in another process sees is a prefix, with all that was synced, and never shrinks.
  Status follow() {
    if (!follower_ || follow_random_.one_in(4)) {
      FreezerOptions options = options_;
      options.access = FreezerAccess::read_only;
      options.memory_budget_bytes = 1 << 20;
      TRY_INTO(follower_, Freezer::open(*storage_, options));
    } else {
      TRY(follower_->refresh());
    }
    size_t count = 0;
    Status failed;
    TRY(follower_->visit([&](const FreezerItem& item) {
      auto value = follower_->get(item.cursor());
      if (!value) {
        failed = pass_on(value);
      } else if (count >= records_.size() || records_[count].key != item.key ||
                 !equal_bytes(records_[count].value, value->bytes())) {
        note(concat("a reader sees another item ", count));
      }
      ++count;
      return failed.has_value() && !problem_;
    }));
    TRY(std::move(failed));
    if (count < acknowledged_)
      note(concat("a reader sees ", count, " items, but ", acknowledged_, " were synced"));
    if (count == 0 || problem_) return {};
    const Bytes& key = records_[follow_random_.below(count)].key;
    TRY_INTO(const auto value, follower_->get(ByteSpan(key)));
    if (!value || !equal_bytes(value->bytes(), newest(key, count)->value))
      note("a reader finds no value of a key that it sees, or a wrong one");
    return {};
  }

  void note(std::string problem) {
    if (!problem_) problem_ = std::move(problem);
  }

  // The records are a prefix of what was put, without a hole, and hold what was acknowledged.
  std::optional<std::string> adopt_records() {
    size_t count = 0;
    std::optional<std::string> problem;
    const Status visited = freezer_->visit([&](const FreezerItem& item) {
      problem = compare(count++, item);
      return !problem;
    });
    if (problem) return problem;
    if (!visited) return visited.error().message;
    if (count < acknowledged_)
      return concat(count, " items are there, but ", acknowledged_, " were synced");
    if (count != freezer_->item_count()) return "the count is not that of the items";
    records_.resize(count);
    acknowledged_ = count;
    std::erase_if(checkpoints_, [&](const Committed& one) { return one.count > count; });
    return std::nullopt;
  }

  std::optional<std::string> compare(size_t number, const FreezerItem& item) {
    if (number >= records_.size())
      return concat("more than the ", records_.size(), " items that were put");
    const Record& expected = records_[number];
    if (item.key != expected.key) return concat("item ", number, " has the key of another one");
    const auto value = freezer_->get(item.cursor());
    if (!value) return concat("item ", number, ": ", value.error().message);
    if (!equal_bytes(value->bytes(), expected.value))
      return concat("item ", number, " has a wrong value");
    return std::nullopt;
  }

  std::optional<std::string> check_keys() {
    std::vector<Bytes> wanted;
    for (uint64_t number = 0; number < std::min<uint64_t>(keys_ + 2, 40); ++number)
      wanted.push_back(key(number));
    for (size_t i = 0; i < records_.size(); i += 1 + records_.size() / 40)
      wanted.push_back(records_[i].key);
    const std::vector<ByteSpan> spans(wanted.begin(), wanted.end());
    const auto values = freezer_->get_many(spans);
    for (size_t i = 0; i < wanted.size(); ++i) {
      const Record* const expected = newest(wanted[i], records_.size());
      const auto one = freezer_->get(ByteSpan(wanted[i]));
      if (!one) return one.error().message;
      if (!values[i]) return values[i].error().message;
      if (one->has_value() != (expected != nullptr)) {
        return concat("a key of item ", expected != nullptr ? "that was put is missing"
                                                            : "that was not put is there");
      }
      if (values[i]->has_value() != one->has_value()) return "get and get_many disagree";
      if (expected == nullptr) continue;
      if (!equal_bytes((*one)->bytes(), expected->value) ||
          !equal_bytes((*values[i])->bytes(), expected->value))
        return "a key has the value of another put";
    }
    return std::nullopt;
  }

  std::optional<std::string> check_files() {
    for (const BlobRange& range : freezer_->recovery().damage) {
      // A torn commit of one copy cannot be told from damage to it, nor can a torn slot.
      if (range.partition == kManifestPartition || range.partition == "table") continue;
      return concat("recovery reports damage in ", range.partition, "/", range.blob, ": ",
                    range.reason);
    }
    return std::nullopt;
  }

  FreezerOptions options_;
  uint64_t keys_ = 0;
  uint64_t value_size_max_ = 0;
  uint64_t sync_once_in_ = 0;
  uint64_t reopen_once_in_ = 0;
  uint64_t rebuild_once_in_ = 0;
  uint64_t batch_once_in_ = 0;
  uint64_t read_once_in_ = 0;
  uint64_t rewind_once_in_ = 0;
  uint64_t performed_ = 0;

  Storage* storage_ = nullptr;
  std::unique_ptr<Freezer> freezer_;
  std::unique_ptr<Freezer> follower_;
  Random follow_random_{0};
  uint64_t follow_once_in_ = 0;
  std::vector<Record> records_;  // issued, in order
  size_t acknowledged_ = 0;      // a prefix of them
  std::vector<Committed> checkpoints_;
  bool is_broken_ = false;                // a change failed half-way since the last open
  bool is_going_back_ = false;            // since then no open succeeded
  bool is_closing_ = false;               // since then no open succeeded
  uint32_t opened_size_ = 0;              // positions
  std::optional<uint32_t> doubled_from_;  // positions of a table on disk that a crash met doubling
  testkit::RareFindings found_ = testkit::RareFindings::of_values(
      {"in the other copy is used", "no state that can be repaired", "does not fit the key journal",
       "the table on disk is damaged", "it was made anew", kLeftMemory, kCrashLeaving,
       kCrashWriting, kCrashOnDisk, kTakenBack, testkit::rare::kTornFile,
       testkit::RareFindings::kFullInClose});
  std::optional<std::string> problem_;
};

}  // namespace firn::freezer
