// SPDX-License-Identifier: Apache-2.0
//
// The crash scenario of PrunableArchive: puts in and out of order, several items of an index,
// flushes, prunes, closing and reopening, under options that the seed draws. A reader of another
// process follows.
//
// The model: for each section the records in the order of their puts and how many of them a sync
// has acknowledged; the prune boundary that is certain, and those that may have become durable.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "firn/archive/prunable_archive.h"
#include "firn/base/bytes.h"
#include "firn/base/random.h"
#include "firn/base/text.h"
#include "testkit/crash_harness.h"
#include "testkit/rare_findings.h"

namespace firn::archive {

class ArchiveScenario : public testkit::Scenario {
 public:
  explicit ArchiveScenario(Random& config) {
    options_.key_size_bytes = static_cast<uint32_t>(config.between(1, 40));
    options_.items_per_section = config.between(1, 20);
    options_.page_size_bytes =
        static_cast<uint32_t>(config.between(1, config.one_in(2) ? 60 : 600));
    options_.write_buffer_bytes = config.below(config.one_in(2) ? 100 : 3000);
    options_.page_cache_bytes = config.one_in(4) ? 0 : 1 << 16;
    options_.open_sections_max = config.between(1, 6);
    if (config.one_in(3)) options_.compression_level = static_cast<int>(config.between(1, 3));
    options_.translator = KeyTranslator::cap(config.between(1, 8));
    if (config.one_in(2))
      options_.translator = KeyTranslator::hashed(*options_.translator, config.next());
    value_size_max_ = config.between(1, config.one_in(4) ? 3000 : 100);
    window_ = config.between(1, 60);
    sync_once_in_ = config.between(2, 12);
    prune_once_in_ = config.between(4, 40);
    reopen_once_in_ = config.between(4, 40);
    multi_once_in_ = config.between(1, 6);
    read_once_in_ = config.between(2, 6);
    follow_random_ = Random(config.next());
    follow_once_in_ = follow_random_.between(3, 30);
  }

  [[nodiscard]] Status open(Storage& storage) override {
    storage_ = &storage;
    is_broken_ = false;
    return open_archive();
  }

  [[nodiscard]] Status step(Random& random) override {
    if (!archive_) return open_archive();
    if (follow_random_.one_in(follow_once_in_)) return follow();
    if (random.one_in(read_once_in_)) return read(random);
    if (random.one_in(sync_once_in_)) return sync();
    if (random.one_in(prune_once_in_))
      return prune(boundary_ + random.below(2 * *options_.items_per_section + 1));
    if (random.one_in(reopen_once_in_)) return reopen();
    const uint64_t ahead = random.one_in(20) ? 1000 : random.below(window_);
    const uint64_t index = std::max(last_boundary(), next_ > window_ ? next_ - window_ : 0) + ahead;
    return put(index, random.bytes(*options_.key_size_bytes),
               random.bytes(random.below(value_size_max_)), random.one_in(multi_once_in_));
  }

  [[nodiscard]] size_t alphabet_size() const override { return 5; }

  [[nodiscard]] Status perform(size_t operation) override {
    if (!archive_) return open_archive();
    Bytes key(*options_.key_size_bytes);
    key.back() = std::byte(++performed_);
    const Bytes value(performed_ * 7, key.back());
    const uint64_t next = std::max(next_, last_boundary());
    switch (operation) {
      case 0: return put(next, std::move(key), value, false);
      case 1: return put(next > last_boundary() ? next - 1 : next, std::move(key), value, true);
      case 2: return sync();
      case 3: return prune(next);
      default: return reopen();
    }
  }

  [[nodiscard]] std::optional<std::string> check() override {
    if (problem_) return problem_;
    problem_ = adopt_boundary();
    if (!problem_) problem_ = adopt_records();
    if (!problem_) problem_ = check_indices();
    return problem_;
  }

  void crash() override {
    follower_.reset();
    archive_.reset();
  }

  [[nodiscard]] Reached reached() const override { return found_.counts(); }

 private:
  struct Record {
    uint64_t index = 0;
    Bytes key;
    Bytes value;
  };
  struct SectionModel {
    std::vector<Record> issued;
    size_t acknowledged = 0;
  };

  [[nodiscard]] uint64_t section_of(uint64_t index) const {
    return index - index % *options_.items_per_section;
  }
  // The highest boundary that may count.
  [[nodiscard]] uint64_t last_boundary() const {
    return boundaries_.empty() ? boundary_ : std::max(boundary_, *boundaries_.rbegin());
  }

  Status open_archive() {
    TRY_INTO(archive_, PrunableArchive::open(*storage_, options_));
    found_.count(archive_->recovery());
    return {};
  }

  // After a change failed half-way, all others must fail.
  Status watch(Status outcome) {
    if (is_broken_ && outcome && !problem_) problem_ = "a change succeeded after one had failed";
    if (!outcome) is_broken_ = !archive_->log().check_writable().has_value();
    return outcome;
  }

  Status put(uint64_t index, Bytes key, const Bytes& value, bool multi) {
    SectionModel& section = sections_[section_of(index)];
    const bool exists = first_of(index) != nullptr;
    const bool added = multi || !exists;
    next_ = std::max(next_, index + 1);
    const bool is_issued = added && !is_broken_;
    if (is_issued) section.issued.push_back({index, key, value});
    Status outcome;
    if (multi) {
      outcome = archive_->put_multi(index, key, value);
    } else if (const auto put = archive_->put(index, key, value); !put) {
      outcome = fail(put.error().code, put.error().message);
    } else if ((*put == PutOutcome::added) != added) {
      note(concat("put of index ", index, added ? " found" : " did not find", " an item"));
    }
    if (outcome && !added) return {};
    Status watched = watch(std::move(outcome));
    // Refused before anything was written.
    if (!watched && !is_broken_ && is_issued) section.issued.pop_back();
    return watched;
  }

  void acknowledge() {
    for (auto& [start, section] : sections_)
      section.acknowledged = section.issued.size();
  }

  Status sync() {
    const bool was_broken = is_broken_;
    TRY(watch(archive_->sync()));
    if (!was_broken) acknowledge();
    return {};
  }

  Status prune(uint64_t min) {
    const uint64_t boundary = section_of(min);
    if (boundary <= last_boundary()) return {};
    boundaries_.insert(boundary);
    TRY(watch(archive_->prune(min)));
    acknowledge();
    set_boundary(boundary);
    return {};
  }

  Status reopen() {
    TRY(watch(found_.watch_close(archive_->close())));
    acknowledge();
    archive_.reset();
    return open_archive();
  }

  void set_boundary(uint64_t boundary) {
    boundary_ = boundary;
    boundaries_.clear();
    sections_.erase(sections_.begin(), sections_.lower_bound(boundary));
  }

  [[nodiscard]] const Record* first_of(uint64_t index) const {
    const auto section = sections_.find(section_of(index));
    if (section == sections_.end()) return nullptr;
    const auto& issued = section->second.issued;
    const auto found = std::ranges::find(issued, index, &Record::index);
    return found == issued.end() ? nullptr : &*found;
  }

  // Reads an acknowledged item (any item, if nothing failed yet) and compares.
  Status read(Random& random) {
    std::vector<const Record*> readable;
    for (const auto& [start, section] : sections_) {
      if (start < last_boundary()) continue;
      const size_t count = is_broken_ ? section.acknowledged : section.issued.size();
      for (size_t i = 0; i < count; ++i)
        readable.push_back(&section.issued[i]);
    }
    if (readable.empty()) return {};
    const Record& record = *readable[random.below(readable.size())];
    TRY_INTO(const auto by_index, archive_->get(record.index));
    TRY_INTO(const auto by_key, archive_->find(record.key));
    if (!by_index || !equal_bytes(by_index->bytes(), first_of(record.index)->value))
      note(concat("index ", record.index, " has a wrong value, or none, during the run"));
    if (!by_key || by_key->key != record.key)
      note(concat("the key of index ", record.index, " is missing during the run"));
    return {};
  }

  // What a reader in another process sees of a section is a prefix, with all that was synced.
  Status follow() {
    if (!follower_ || follow_random_.one_in(4)) {
      PrunableArchiveOptions options = options_;
      options.access = ArchiveAccess::read_only;
      TRY_INTO(follower_, PrunableArchive::open(*storage_, options));
    } else {
      TRY(follower_->refresh());
    }
    const uint64_t oldest = follower_->oldest_allowed();
    if (oldest != boundary_ && !boundaries_.contains(oldest))
      note(concat("a reader sees the boundary ", oldest));
    std::map<uint64_t, std::set<uint64_t>> seen;  // section, positions
    Status failed;
    TRY(follower_->visit(0, UINT64_MAX, false, [&](const ArchiveItem& item) {
      auto value = follower_->read_value(item);
      if (!value && value.error().code == Errc::pruned) return true;
      if (!value)
        failed = pass_on(value);
      else
        check_followed(item, value->bytes());
      seen[item.section.value].insert(item.position.value);
      return failed.has_value() && !problem_;
    }));
    TRY(std::move(failed));
    for (const auto& [start, section] : sections_) {
      if (start >= last_boundary() && seen[start].size() < section.acknowledged)
        note(concat("a reader sees ", seen[start].size(), " items of section ", start, ", but ",
                    section.acknowledged, " were synced"));
    }
    return {};
  }

  void check_followed(const ArchiveItem& item, ByteSpan value) {
    const auto section = sections_.find(item.section.value);
    const auto position = item.position.value;
    const bool was_put = section != sections_.end() && position < section->second.issued.size();
    const Record* const expected = was_put ? &section->second.issued[position] : nullptr;
    if (!was_put || item.index != expected->index || item.key != expected->key ||
        !equal_bytes(value, expected->value))
      note(concat("a reader sees another record ", position, " of section ", item.section));
  }

  void note(std::string problem) {
    if (!problem_) problem_ = std::move(problem);
  }

  std::optional<std::string> adopt_boundary() {
    const uint64_t found = archive_->oldest_allowed();
    if (found != boundary_ && !boundaries_.contains(found)) {
      return concat("the boundary is ", found, ", acknowledged was ", boundary_);
    }
    set_boundary(found);
    return std::nullopt;
  }

  // Every section's records are a prefix of what was issued, and hold what was acknowledged.
  std::optional<std::string> adopt_records() {
    std::map<uint64_t, std::map<uint64_t, ArchiveItem>> found;  // section, position
    const Status visited = archive_->visit(0, UINT64_MAX, false, [&](const ArchiveItem& item) {
      found[item.section.value][item.position.value] = item;
      return true;
    });
    if (!visited) return visited.error().message;
    for (const auto& [start, items] : found)
      if (!sections_.contains(start)) return concat("section ", start, " was never written");
    for (auto& [start, section] : sections_) {
      const auto& items = found[start];
      if (items.size() < section.acknowledged)
        return concat("section ", start, " has ", items.size(), " items, but ",
                      section.acknowledged, " were synced");
      if (items.size() > section.issued.size())
        return concat("section ", start, " has ", items.size(), " items, but only ",
                      section.issued.size(), " were put");
      section.issued.resize(items.size());
      section.acknowledged = items.size();
      uint64_t position = 0;
      for (const auto& [at, item] : items) {
        if (at != position) return concat("section ", start, " lacks position ", position);
        if (auto problem = compare(section.issued[position++], item)) return problem;
      }
    }
    return std::nullopt;
  }

  std::optional<std::string> compare(const Record& expected, const ArchiveItem& item) {
    const std::string name = concat("record ", item.position, " of section ", item.section);
    if (item.index != expected.index || item.key != expected.key)
      return concat(name, " is that of another item");
    const auto value = archive_->read_value(item);
    if (!value) return concat(name, ": ", value.error().message);
    if (!equal_bytes(value->bytes(), expected.value)) return concat(name, " has a wrong value");
    const auto by_key = archive_->get(ByteSpan(expected.key));
    if (!by_key || !*by_key) return concat("the key of ", name, " is not found");
    const auto by_index = archive_->get(expected.index);
    if (!by_index || !*by_index) return concat("index ", expected.index, " is not found");
    if (!equal_bytes((*by_index)->bytes(), first_of(expected.index)->value))
      return concat("index ", expected.index, " has a wrong value");
    return std::nullopt;
  }

  // Ranges, gaps and counts say the same as the records.
  std::optional<std::string> check_indices() {
    std::set<uint64_t> present;
    uint64_t records = 0;
    for (const auto& [start, section] : sections_) {
      records += section.issued.size();
      for (const Record& record : section.issued)
        present.insert(record.index);
    }
    next_ = present.empty() ? boundary_ : *present.rbegin() + 1;
    std::vector<IndexRange> ranges;
    std::vector<uint64_t> missing;
    for (const uint64_t index : present) {
      const uint64_t expected = ranges.empty() ? 0 : ranges.back().end + 1;
      for (uint64_t gap = expected; gap < index && missing.size() < 50; ++gap)
        missing.push_back(gap);
      if (ranges.empty() || index != expected) ranges.push_back({index, index});
      ranges.back().end = index;
    }
    if (archive_->ranges() != ranges) return "the ranges are not those of the items";
    if (archive_->missing_items(0, 50) != missing) return "the missing items are wrong";
    const ArchiveStatistics statistics = archive_->statistics();
    if (statistics.items_tracked != present.size() || statistics.records != records)
      return "the counts are not those of the items";
    for (const BlobRange& range : archive_->recovery().damage) {
      // A torn commit of one copy cannot be told from damage to it.
      if (range.partition == kManifestPartition) continue;
      return concat("recovery reports damage in ", range.partition, "/", range.blob, ": ",
                    range.reason);
    }
    return std::nullopt;
  }

  PrunableArchiveOptions options_;
  uint64_t value_size_max_ = 0;
  uint64_t window_ = 0;
  uint64_t sync_once_in_ = 0;
  uint64_t prune_once_in_ = 0;
  uint64_t reopen_once_in_ = 0;
  uint64_t multi_once_in_ = 0;
  uint64_t read_once_in_ = 0;
  uint64_t performed_ = 0;

  Storage* storage_ = nullptr;
  std::unique_ptr<PrunableArchive> archive_;
  std::unique_ptr<PrunableArchive> follower_;
  Random follow_random_{0};
  uint64_t follow_once_in_ = 0;
  std::map<uint64_t, SectionModel> sections_;
  uint64_t boundary_ = 0;          // acknowledged
  std::set<uint64_t> boundaries_;  // issued since
  uint64_t next_ = 0;              // above every index that was put
  bool is_broken_ = false;         // a change failed half-way since the last open
  testkit::RareFindings found_ = testkit::RareFindings::of_values(
      {"an interrupted prune", "in the other copy is used", testkit::rare::kFileBack,
       testkit::rare::kTornFile, testkit::RareFindings::kFullInClose});
  std::optional<std::string> problem_;
};

}  // namespace firn::archive
