// SPDX-License-Identifier: Apache-2.0
//
// Crash scenarios of FixedJournal and IndexedValueLog, each with a manifest, as stores have them.
#include <algorithm>
#include <iterator>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "firn/base/endian.h"
#include "firn/base/text.h"
#include "firn/io/page_cache.h"
#include "firn/io/page_record.h"
#include "firn/journal/fixed_journal.h"
#include "firn/journal/indexed_value_log.h"
#include "firn/store/manifest.h"
#include "sim/scenarios.h"
#include "testkit/rare_findings.h"

namespace firn::sim {
namespace {

using testkit::Scenario;

// What is appended: everything else follows from it.
struct Item {
  uint64_t id = 0;
  uint32_t size_bytes = 0;  // of the value, where there is one
};

Bytes pattern(uint64_t seed, size_t size_bytes) {
  Bytes bytes(size_bytes);
  uint64_t state = seed;
  for (size_t i = 0; i < size_bytes; i += 8) {
    std::byte word[8];
    store_big_endian(word, split_mix64(state));
    copy_bytes(std::span(bytes).subspan(i),
               ByteSpan(word).first(std::min<size_t>(8, size_bytes - i)));
  }
  return bytes;
}

struct Options {
  uint32_t page_size_bytes;
  size_t index_buffer_bytes;
  size_t value_buffer_bytes;
  size_t open_sections_max;
  size_t cache_bytes;
  uint32_t prefix_size_bytes;
  std::optional<int> compression_level;
  uint64_t sections;
  uint64_t sync_every;
  uint64_t prune_every;
  uint64_t rewind_every;

  explicit Options(Random& config)
      : page_size_bytes(config.one_in(8) ? 4084 : static_cast<uint32_t>(config.between(16, 200))),
        index_buffer_bytes(config.below(300)),
        value_buffer_bytes(config.below(300)),
        open_sections_max(config.between(1, 8)),
        cache_bytes(config.one_in(4) ? 0 : 1 << 16),
        prefix_size_bytes(static_cast<uint32_t>(8 + (config.one_in(3) ? config.below(80) : 0))),
        sections(config.between(1, 5)),
        sync_every(config.between(2, 12)),
        prune_every(config.between(10, 60)),
        rewind_every(config.between(8, 40)) {
    if (config.one_in(3)) compression_level = static_cast<int>(config.below(4));
  }
};

// The structure under test, in the terms of the model.
class Subject {
 public:
  explicit Subject(const Options& options) : options_(options) {}
  virtual ~Subject() = default;

  [[nodiscard]] virtual StoreRole role() const = 0;
  [[nodiscard]] virtual Status open(Storage& storage, Floors& floors, PageCache& cache,
                                    RecoveryLog& recovery) = 0;
  virtual void reset() = 0;
  [[nodiscard]] virtual Result<Position> append(Section section, Item item) = 0;
  // What is wrong with the stored item.
  [[nodiscard]] virtual Result<std::optional<std::string>> compare(Section section,
                                                                   Position position,
                                                                   Item item) = 0;
  [[nodiscard]] virtual std::vector<Section> sections() = 0;
  [[nodiscard]] virtual Result<uint64_t> count(Section section) = 0;
  [[nodiscard]] virtual Status sync(Section section) = 0;
  [[nodiscard]] virtual Status sync_all() = 0;
  [[nodiscard]] virtual Status close() = 0;
  [[nodiscard]] virtual Result<size_t> prune(Section oldest_retained) = 0;
  [[nodiscard]] virtual Status rewind(Section section, uint64_t count, bool later_too) = 0;
  [[nodiscard]] virtual Status verify(RecoveryLog& findings) = 0;
  // While it is not open: damages an item of the section that is neither at the floor nor among the
  // first `acknowledged`, durably. Returns the records from this item on, which recovery must cut.
  [[nodiscard]] virtual Result<std::vector<Bytes>> damage_item(Storage& storage, Floors& floors,
                                                               Section section,
                                                               uint64_t acknowledged) {
    (void)storage, (void)floors, (void)section, (void)acknowledged;
    return std::vector<Bytes>();
  }

 protected:
  FixedJournalOptions journal_options(Floors& floors, PageCache& cache) const {
    FixedJournalOptions options;
    options.partition = "index";
    options.record_size_bytes = options_.prefix_size_bytes;
    options.page_size_bytes = options_.page_size_bytes;
    options.write_buffer_bytes = options_.index_buffer_bytes;
    options.open_sections_max = options_.open_sections_max;
    options.cache = &cache;
    options.floors = &floors;
    return options;
  }

  Bytes prefix_of(Item item) const {
    Bytes prefix = pattern(item.id, options_.prefix_size_bytes);
    store_big_endian(prefix.data(), item.id);
    return prefix;
  }

  const Options& options_;
};

class FixedJournalSubject final : public Subject {
 public:
  using Subject::Subject;

  static testkit::RareFindings rare_findings() {
    return testkit::RareFindings::of_pages({"an interrupted prune", testkit::rare::kFileBack,
                                            testkit::rare::kTornFile,
                                            testkit::RareFindings::kFullInClose});
  }

  [[nodiscard]] StoreRole role() const override { return StoreRole::journal; }
  Status open(Storage& storage, Floors& floors, PageCache& cache, RecoveryLog& recovery) override {
    TRY_INTO(journal_, FixedJournal::open(storage, journal_options(floors, cache), recovery));
    return {};
  }
  void reset() override { journal_.reset(); }
  Result<Position> append(Section section, Item item) override {
    return journal_->append(section, prefix_of(item));
  }
  Result<std::optional<std::string>> compare(Section section, Position position,
                                             Item item) override {
    Bytes record(options_.prefix_size_bytes);
    TRY(journal_->read(section, position, record));
    if (record == prefix_of(item)) return std::optional<std::string>();
    return std::optional<std::string>("record is not what was written");
  }
  std::vector<Section> sections() override { return journal_->sections(); }
  Result<uint64_t> count(Section section) override { return journal_->record_count(section); }
  Status sync(Section section) override { return journal_->sync(section); }
  Status sync_all() override { return journal_->sync_all(); }
  Status close() override { return journal_->close(); }
  Result<size_t> prune(Section oldest) override { return journal_->prune(oldest); }
  Status rewind(Section section, uint64_t count, bool later_too) override {
    const uint64_t size_bytes = count * options_.prefix_size_bytes;
    return later_too ? journal_->rewind(section, size_bytes)
                     : journal_->rewind_section(section, size_bytes);
  }
  Status verify(RecoveryLog& findings) override { return journal_->verify(findings); }

 private:
  std::unique_ptr<FixedJournal> journal_;
};

class IndexedValueLogSubject final : public Subject {
 public:
  using Subject::Subject;

  static testkit::RareFindings rare_findings() {
    return testkit::RareFindings::of_values({"an interrupted prune", "values of dropped entries",
                                             testkit::rare::kFileBack, testkit::rare::kTornFile,
                                             testkit::RareFindings::kFullInClose});
  }

  [[nodiscard]] StoreRole role() const override { return StoreRole::index; }
  Status open(Storage& storage, Floors& floors, PageCache& cache, RecoveryLog& recovery) override {
    IndexedValueLogOptions options;
    options.index = journal_options(floors, cache);
    options.index.record_size_bytes += IndexedValueLog::kLocationSizeBytes;
    options.values.partition = "values";
    options.values.compression_level = options_.compression_level;
    options.values.write_buffer_bytes = options_.value_buffer_bytes;
    options.values.open_sections_max = options_.open_sections_max;
    TRY_INTO(log_, IndexedValueLog::open(storage, options, recovery));
    return {};
  }
  void reset() override { log_.reset(); }
  Result<Position> append(Section section, Item item) override {
    TRY_INTO(const auto appended,
             log_->append(section, prefix_of(item), pattern(~item.id, item.size_bytes)));
    return appended.position;
  }
  Result<std::optional<std::string>> compare(Section section, Position position,
                                             Item item) override {
    Bytes entry(options_.prefix_size_bytes + IndexedValueLog::kLocationSizeBytes);
    TRY(log_->read_entry(section, position, entry));
    if (!equal_bytes(ByteSpan(entry).first(options_.prefix_size_bytes), prefix_of(item)))
      return std::optional<std::string>("entry is not what was written");
    TRY_INTO(const Value value, log_->read_value(section, IndexedValueLog::location_of(entry)));
    if (equal_bytes(value.bytes(), pattern(~item.id, item.size_bytes)))
      return std::optional<std::string>();
    return std::optional<std::string>("value is not what was written");
  }
  std::vector<Section> sections() override { return log_->sections(); }
  Result<uint64_t> count(Section section) override { return log_->entry_count(section); }
  Status sync(Section section) override { return log_->sync(section); }
  Status sync_all() override { return log_->sync_all(); }
  Status close() override { return log_->close(); }
  Result<size_t> prune(Section oldest) override { return log_->prune(oldest); }
  Status rewind(Section section, uint64_t count, bool later_too) override {
    const uint64_t size_bytes =
        count * (options_.prefix_size_bytes + IndexedValueLog::kLocationSizeBytes);
    return later_too ? log_->rewind(section, size_bytes)
                     : log_->rewind_section(section, size_bytes);
  }
  Status verify(RecoveryLog& findings) override {
    return log_->verify(true, findings, [](uint64_t) {});
  }
  Result<std::vector<Bytes>> damage_item(Storage& storage, Floors& floors, Section section,
                                         uint64_t acknowledged) override {
    PageCache cache(0);
    FixedJournalOptions options = journal_options(floors, cache);
    options.record_size_bytes += IndexedValueLog::kLocationSizeBytes;
    RecoveryLog look_only(storage, true);
    TRY_INTO(const auto journal, FixedJournal::open(storage, options, look_only));
    TRY_INTO(const uint64_t count, journal->record_count(section));
    const uint64_t first =
        std::max(acknowledged, floors.floor(section) / options.record_size_bytes);
    std::vector<Bytes> records;
    for (uint64_t position = first; position < count; ++position) {
      records.emplace_back(options.record_size_bytes);
      TRY(journal->read(section, Position(position), records.back()));
    }
    if (!records.empty()) TRY(flip_value(storage, section, records.front()));
    return records;
  }

 private:
  // The records are durable before their value is damaged: another power cut must not take them.
  static Status flip_value(Storage& storage, Section section, ByteSpan record) {
    std::byte name[sizeof(uint64_t)];
    store_big_endian(name, section.value);
    TRY_INTO(const auto index, storage.open("index", name, OpenMode::read_write));
    TRY(index->sync());
    TRY_INTO(const auto values, storage.open("values", name, OpenMode::read_write));
    const uint64_t offset = IndexedValueLog::location_of(record).offset;
    std::byte first;
    TRY(values->read_at(offset, MutableByteSpan(&first, 1)));
    first = ~first;
    TRY(values->write_at(offset, ByteSpan(&first, 1)));
    return values->sync();
  }

  std::unique_ptr<IndexedValueLog> log_;
};

// One section as it may be found after a crash: its first n items, acknowledged <= n <= all.
struct SectionModel {
  std::vector<Item> items;    // issued, failed appends included
  uint64_t acknowledged = 0;  // synced
  uint64_t visible = 0;       // appended with success
};

template <class Tested>
class JournalScenario final : public Scenario {
 public:
  explicit JournalScenario(Random& config)
      : options_(config), subject_(options_), damage_(config.next()) {}

  [[nodiscard]] Status open(Storage& storage) override {
    storage_ = &storage;
    // Once in a recovery: a second time could repair the value.
    if (damage_.one_in(3) && !std::exchange(damaged_, true)) TRY(damage_an_item());
    return reopen();
  }

  [[nodiscard]] Status step(Random& random) override {
    if (!open_) return fail(Errc::poisoned, "reopening failed");
    const Section section(boundary_ + random.below(options_.sections));
    if (random.one_in(options_.sync_every)) return random.one_in(2) ? sync_all() : sync(section);
    if (random.one_in(options_.prune_every)) return prune(boundary_ + random.between(0, 2));
    if (random.one_in(options_.rewind_every)) {
      const uint64_t visible = models_[section].visible;
      return rewind(section, random.one_in(4) ? 0 : random.below(visible + 1), random.one_in(2));
    }
    if (random.one_in(40)) return close_and_reopen();
    if (random.one_in(6)) return read(section, random);
    return append(section, draw_size(random));
  }

  [[nodiscard]] size_t alphabet_size() const override { return 5; }
  [[nodiscard]] Status perform(size_t operation) override {
    switch (operation) {
      case 0: return append(Section(boundary_), 30);
      case 1: return append(Section(boundary_ + 1), options_.page_size_bytes);
      case 2: return sync_all();
      case 3: return rewind(Section(boundary_), models_[Section(boundary_)].visible / 2, true);
      default: return prune(boundary_ + 1);
    }
  }

  [[nodiscard]] std::optional<std::string> check() override {
    if (problem_) return problem_;
    const auto outcome = adopt_recovered();
    if (!outcome) return concat("reading fails: ", outcome.error().message);
    return *outcome;
  }

  void crash() override {
    subject_.reset();
    manifest_.reset();
  }

  [[nodiscard]] Reached reached() const override { return found_.counts(); }

 private:
  Status reopen() {
    open_ = false;
    cache_ = std::make_unique<PageCache>(options_.cache_bytes);
    RecoveryLog recovery(*storage_, false);
    TRY_INTO(manifest_, Manifest::open(*storage_, false, recovery));
    if (manifest_ == nullptr) {
      const ManifestIdentity identity = {
          .kind = "sim", .geometry = {}, .partitions = {}, .id = StoreId{}};
      TRY_INTO(manifest_, Manifest::create(*storage_, identity, recovery));
    }
    const Status opened =
        subject_.open(*storage_, manifest_->floors(subject_.role()), *cache_, recovery);
    found_.count(recovery.report());
    open_ = opened.has_value();
    return opened;
  }

  // What recovery cannot adopt must be in lost-found afterwards.
  Status damage_an_item() {
    RecoveryLog look_only(*storage_, true);
    TRY_INTO(const auto manifest, Manifest::open(*storage_, true, look_only));
    if (manifest == nullptr || models_.empty()) return {};
    auto chosen = models_.begin();
    std::advance(chosen, damage_.below(models_.size()));
    Floors& floors = manifest->floors(subject_.role());
    if (floors.was_clean() || chosen->first < floors.boundary()) return {};
    TRY_INTO(auto records,
             subject_.damage_item(*storage_, floors, chosen->first, chosen->second.acknowledged));
    std::ranges::move(records, std::back_inserter(dropped_));
    return {};
  }

  // Whether a saved copy of pages holds each of the records that were to be dropped.
  Result<std::optional<std::string>> find_dropped() {
    if (dropped_.empty()) return std::optional<std::string>();
    std::vector<Bytes> copies;
    TRY_INTO(const auto names, storage_->scan(kLostFoundPartition));
    for (const Bytes& name : names) {
      TRY_INTO(const auto blob, storage_->open(kLostFoundPartition, name, OpenMode::read_only));
      Bytes pages(blob->size());
      TRY(blob->read_at(0, pages));
      Bytes& payload = copies.emplace_back();
      for (size_t at = 0; at < pages.size(); at += options_.page_size_bytes + kPageRecordSize) {
        const size_t size = std::min<size_t>(options_.page_size_bytes, pages.size() - at);
        payload.insert(payload.end(), pages.begin() + static_cast<ptrdiff_t>(at),
                       pages.begin() + static_cast<ptrdiff_t>(at + size));
      }
    }
    for (const Bytes& record : std::exchange(dropped_, {})) {
      const bool saved = std::ranges::any_of(
          copies, [&](const Bytes& copy) { return !std::ranges::search(copy, record).empty(); });
      if (!saved) return wrong("a dropped entry is not in lost-found");
    }
    return std::optional<std::string>();
  }

  // Compares what is there with what may be there; it becomes what must be there.
  Result<std::optional<std::string>> adopt_recovered() {
    Floors& floors = manifest_->floors(subject_.role());
    const uint64_t boundary = floors.boundary().value;
    if (boundary != boundary_ && !boundaries_issued_.contains(boundary))
      return wrong(concat("boundary is ", boundary, ", expected ", boundary_));
    std::map<Section, SectionModel> found;
    for (const Section section : subject_.sections()) {
      if (section.value < boundary) return wrong(concat("section ", section, " was pruned"));
      TRY_INTO(const uint64_t count, subject_.count(section));
      SectionModel& model = models_[section];
      if (count > model.items.size())
        return wrong(concat("section ", section, " holds ", count, " items, but only ",
                            model.items.size(), " were issued"));
      for (uint64_t position = 0; position < count; ++position) {
        TRY_INTO(const auto problem,
                 subject_.compare(section, Position(position), model.items[position]));
        if (problem) return wrong(concat("section ", section, ", item ", position, ": ", *problem));
      }
      SectionModel& kept = found[section];
      kept.items.assign(model.items.begin(), model.items.begin() + static_cast<ptrdiff_t>(count));
      kept.acknowledged = kept.visible = count;
    }
    bool newer_survived = false;
    for (auto at = models_.rbegin(); at != models_.rend(); ++at) {
      const auto& [section, model] = *at;
      if (section.value < boundary) continue;
      const auto kept = found.find(section);
      const uint64_t count = kept == found.end() ? 0 : kept->second.visible;
      const auto removed = removing_.find(section);
      const bool may_be_gone = removed != removing_.end() && kept == found.end();
      const uint64_t needed = removed == removing_.end() ? model.acknowledged : removed->second;
      if (count < needed && !may_be_gone)
        return wrong(concat("section ", section, " holds ", count, " items of ", needed,
                            " that were synced"));
      if (count < needed && newer_survived)
        return wrong(concat("section ", section, " was removed before a newer one"));
      if (removed != removing_.end() && kept != found.end()) newer_survived = true;
    }
    TRY_INTO(auto unsaved, find_dropped());
    if (unsaved) return unsaved;
    RecoveryLog findings(*storage_, true);
    TRY(subject_.verify(findings));
    if (!findings.report().damage.empty())
      return wrong(concat("damage: ", findings.report().damage.front().reason));
    damaged_ = false;
    models_ = std::move(found);
    removing_.clear();
    boundary_ = boundary;
    boundaries_issued_.clear();
    return std::optional<std::string>();
  }

  static std::optional<std::string> wrong(std::string text) { return text; }

  uint32_t draw_size(Random& random) {
    const uint32_t page = options_.page_size_bytes;
    const auto buffer = static_cast<uint32_t>(options_.value_buffer_bytes);
    switch (random.below(8)) {
      case 0: return 0;
      case 1: return 1;
      case 2: return page - 1;
      case 3: return page;
      case 4: return page + 1;
      case 5: return buffer;
      case 6: return buffer + 1;
      default: return static_cast<uint32_t>(random.below(600));
    }
  }

  Status append(Section section, uint32_t size_bytes) {
    SectionModel& model = models_[section];
    // An append that failed and poisoned nothing left nothing behind.
    const Item item{next_id_++, size_bytes};
    model.items.push_back(item);
    TRY_INTO(const Position position, subject_.append(section, item));
    if (position.value != model.visible)
      problem_ = concat("appended at ", position, " behind ", model.visible, " items");
    model.items.resize(model.visible);
    model.items.push_back(item);
    ++model.visible;
    return {};
  }

  Status read(Section section, Random& random) {
    const SectionModel& model = models_[section];
    if (model.visible == 0) return {};
    const uint64_t position = random.below(model.visible);
    TRY_INTO(const auto problem,
             subject_.compare(section, Position(position), model.items[position]));
    if (problem) problem_ = concat("section ", section, ", item ", position, ": ", *problem);
    return {};
  }

  void acknowledge(SectionModel& model) { model.acknowledged = model.visible; }

  Status sync(Section section) {
    TRY(subject_.sync(section));
    acknowledge(models_[section]);
    return {};
  }

  Status sync_all() {
    TRY(subject_.sync_all());
    for (auto& [section, model] : models_)
      acknowledge(model);
    return {};
  }

  Status close_and_reopen() {
    TRY(found_.watch_close(subject_.close()));
    for (auto& [section, model] : models_)
      acknowledge(model);
    TRY(found_.watch_close(manifest_->close()));
    open_ = false;
    subject_.reset();
    manifest_.reset();
    TRY(reopen());
    TRY_INTO(const auto problem, adopt_recovered());
    if (problem) problem_ = concat("after a clean close: ", *problem);
    return {};
  }

  Status prune(uint64_t oldest_retained) {
    boundaries_issued_.insert(oldest_retained);
    TRY(subject_.prune(Section(oldest_retained)));
    boundary_ = std::max(boundary_, oldest_retained);
    boundaries_issued_.clear();
    models_.erase(models_.begin(), models_.lower_bound(Section(boundary_)));
    return {};
  }

  Status rewind(Section section, uint64_t count, bool later_too) {
    SectionModel& model = models_[section];
    const auto later = models_.upper_bound(section);
    if (later_too) {
      for (auto at = later; at != models_.end(); ++at)
        removing_[at->first] = at->second.acknowledged;
    }
    model.acknowledged = std::min(model.acknowledged, count);
    TRY(subject_.rewind(section, count, later_too));
    model.items.resize(std::min(model.visible, count));
    model.visible = model.items.size();
    if (later_too) models_.erase(later, models_.end());
    removing_.clear();
    return {};
  }

  const Options options_;
  Tested subject_;
  Random damage_;  // decides about damage
  Storage* storage_ = nullptr;
  std::unique_ptr<PageCache> cache_;
  std::unique_ptr<Manifest> manifest_;
  testkit::RareFindings found_ = Tested::rare_findings();
  std::optional<std::string> problem_;
  bool open_ = false;

  std::map<Section, SectionModel> models_;
  std::map<Section, uint64_t> removing_;  // by a rewind that did not return: what was synced
  uint64_t boundary_ = 0;
  std::set<uint64_t> boundaries_issued_;  // by prunes that did not return
  uint64_t next_id_ = 1;
  bool damaged_ = false;        // since the last recovery that ended
  std::vector<Bytes> dropped_;  // records that are not adopted any more
};

}  // namespace

testkit::ScenarioFactory fixed_journal_scenario() {
  return
      [](Random& config) { return std::make_unique<JournalScenario<FixedJournalSubject>>(config); };
}

testkit::ScenarioFactory indexed_value_log_scenario() {
  return [](Random& config) {
    return std::make_unique<JournalScenario<IndexedValueLogSubject>>(config);
  };
}

}  // namespace firn::sim
