// SPDX-License-Identifier: Apache-2.0
//
// Crash scenario of Store and Manifest: floors rise and fall, boundaries move, stores are closed
// and opened again. After a crash no floor is above what is true, none below what was committed,
// no boundary went back, and the clean mark is there exactly if nothing was written after it.
#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "firn/base/text.h"
#include "firn/store/store.h"
#include "sim/scenarios.h"
#include "testkit/rare_findings.h"

namespace firn::sim {
namespace {

using testkit::Scenario;

constexpr StoreRole kRole = StoreRole::index;

// What is known of a number on disk.
struct Range {
  uint64_t lowest = 0;
  uint64_t highest = 0;
};

class ManifestScenario final : public Scenario {
 public:
  explicit ManifestScenario(Random& config) : sections_(config.between(1, 40)) {}

  [[nodiscard]] Status open(Storage& storage) override {
    storage_ = &storage;
    StoreOptions options;
    options.identity = {
        "journal", {{"page_size", uint64_t{4084}}}, {{kRole, "index"}}, StoreId{std::byte{7}}};
    TRY_INTO(store_, Store::open(storage, options));
    found_.count(store_->recovery().report());
    if (!store_->manifest()) return fail(Errc::corrupt, "the manifest is gone");
    floors_ = store_->floors(kRole);
    return {};
  }

  [[nodiscard]] Status step(Random& random) override {
    if (!store_) return fail(Errc::poisoned, "closed, and could not be opened again");
    const Section section(random.below(sections_));
    switch (random.below(16)) {
      case 0: return lower(section, random.below(floors_->floor(section) + 1));
      case 1: return set_boundary(Section(floors_->boundary().value + random.below(2)));
      case 2: return forget(section);
      case 3: return checkpoint();
      case 4: return close_and_open();
      case 5: return set_record(random.next());
      default: return raise(section, floors_->floor(section) + random.below(100));
    }
  }

  [[nodiscard]] size_t alphabet_size() const override { return 6; }
  [[nodiscard]] Status perform(size_t operation) override {
    if (!store_) return fail(Errc::poisoned, "closed, and could not be opened again");
    const Section section(5);
    switch (operation) {
      case 0: return raise(section, floors_->floor(section) + 10);
      case 1: return lower(section, floors_->floor(section) / 2);
      case 2: return set_boundary(Section(floors_->boundary().value + 3));
      case 3: return forget(section);
      case 4: return checkpoint();
      default: return close_and_open();
    }
  }

  [[nodiscard]] std::optional<std::string> check() override {
    Manifest& manifest = *store_->manifest();
    if (manifest.id() != StoreId{std::byte{7}}) return "the store has another id";
    if (!manifest.require("page_size", 4084)) return "the geometry is gone";
    if (auto problem = check_floors()) return problem;
    if (auto problem = compare("the boundary", boundary_, floors_->boundary().value))
      return problem;
    if (auto problem = compare("the record", record_, record())) return problem;
    boundary_ = {floors_->boundary().value, floors_->boundary().value};
    record_ = {record(), record()};
    if (must_be_clean_ && !manifest.was_clean()) return "a closed store is not clean";
    if (!may_be_clean_ && manifest.was_clean()) return "a store that was written to is clean";
    // A torn copy makes the store count as unclean, and a power cut may tear the unflushed write of
    // a killed program, or take it back. Either way nothing was acknowledged since the close, so
    // both bounds stay as they are.
    return std::nullopt;
  }

  void crash() override { store_.reset(); }

  [[nodiscard]] Reached reached() const override { return found_.counts(); }

 private:
  std::optional<std::string> check_floors() {
    for (const Section section : floors_->sections())
      if (!model_.contains(section)) return concat("section ", section, " was never raised");
    for (auto& [section, range] : model_) {
      const uint64_t floor = floors_->floor(section);
      const bool may_be_pruned = section.value < boundary_.highest;
      if (floor > range.highest || (floor < range.lowest && !may_be_pruned))
        return concat("the floor of section ", section, " is ", floor, ", not in [", range.lowest,
                      ", ", range.highest, "]");
      if (section < floors_->boundary() && floor > 0)
        return concat("section ", section, " is pruned and has a floor");
      range.highest = floor;
      range.lowest = std::min(range.lowest, floor);
    }
    return std::nullopt;
  }

  static std::optional<std::string> compare(std::string_view what, Range known, uint64_t found) {
    if (found == known.lowest || found == known.highest) return std::nullopt;
    return concat(what, " is ", found, ", neither ", known.lowest, " nor ", known.highest);
  }

  [[nodiscard]] uint64_t record() const {
    const auto bytes = store_->manifest()->record(1);
    return bytes ? std::stoull(std::string(as_text(*bytes))) : 0;
  }

  // Everything that writes comes after this: the mark may be gone from now on, and is on success.
  // What follows is issued, as the manifest is not poisoned.
  Status begin_writing() {
    must_be_clean_ = false;
    TRY(floors_->begin_writing());
    may_be_clean_ = false;
    return {};
  }

  Status raise(Section section, uint64_t size) {
    TRY(begin_writing());
    // True from now on, whether or not the call succeeds.
    if (size > 0 && section >= floors_->boundary())
      model_[section].highest = std::max(model_[section].highest, size);
    return floors_->raise(section, size);
  }

  Status lower(Section section, uint64_t size) {
    TRY(begin_writing());
    Range& range = model_[section];
    range.lowest = std::min(range.lowest, size);
    TRY(floors_->lower(section, size));
    range.highest = std::min(range.highest, size);
    return {};
  }

  Status set_boundary(Section oldest) {
    TRY(begin_writing());
    boundary_.highest = std::max(boundary_.highest, oldest.value);
    TRY(floors_->set_boundary(oldest));
    boundary_.lowest = boundary_.highest;
    for (auto& [section, range] : model_)
      if (section < oldest) range = {};
    return {};
  }

  Status forget(Section section) {
    TRY(begin_writing());
    model_[section].lowest = 0;
    TRY(floors_->forget({section}));
    model_[section] = {};
    return {};
  }

  Status set_record(uint64_t number) {
    TRY(begin_writing());
    record_.highest = number;
    TRY(store_->manifest()->set_record(1, as_bytes(std::to_string(number))));
    record_.lowest = number;
    return {};
  }

  void committed() {
    for (auto& [section, range] : model_)
      range.lowest = range.highest = floors_->floor(section);
  }

  Status checkpoint() {
    TRY(begin_writing());
    TRY(store_->manifest()->checkpoint());
    committed();
    return {};
  }

  Status close_and_open() {
    TRY(begin_writing());
    may_be_clean_ = true;
    TRY(found_.watch_close(store_->close()));
    must_be_clean_ = true;
    committed();
    store_.reset();
    TRY(open(*storage_));
    if (!store_->manifest()->was_clean()) return fail(Errc::corrupt, "closed, but not clean");
    return {};
  }

  uint64_t sections_;
  Storage* storage_ = nullptr;
  std::unique_ptr<Store> store_;
  Floors* floors_ = nullptr;
  std::map<Section, Range> model_;
  Range boundary_;
  Range record_;
  bool may_be_clean_ = true;  // a store that was just made has nothing above its floors
  bool must_be_clean_ = false;
  testkit::RareFindings found_ = {"nothing is missing", "may be missing, unless",
                                  testkit::RareFindings::kFullInClose};
};

}  // namespace

testkit::ScenarioFactory manifest_scenario() {
  return [](Random& config) { return std::make_unique<ManifestScenario>(config); };
}

}  // namespace firn::sim
