// SPDX-License-Identifier: Apache-2.0
//
// Crash scenario of ValueLog alone. The model is the log's owner: it remembers where each value is
// and which sections it gave up, and after a crash keeps the values that read, up to the first that
// does not.
#include "firn/journal/value_log.h"

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "firn/base/text.h"
#include "sim/scenarios.h"
#include "testkit/rare_findings.h"

namespace firn::sim {
namespace {

using testkit::Scenario;

struct StoredValue {
  uint64_t seed = 0;
  size_t size_bytes = 0;
  ValueLocation location;

  [[nodiscard]] Bytes bytes() const { return Random(seed).bytes(size_bytes); }
  [[nodiscard]] uint64_t end() const { return location.offset + location.size_bytes; }
};

// One section as it may be found after a crash: its first n values, acknowledged <= n <= all.
struct ValueSectionModel {
  std::vector<StoredValue> values;
  size_t acknowledged = 0;
  bool removing = false;  // by a rewind that did not return: it may be gone, the newest one first

  [[nodiscard]] uint64_t end_of(size_t count) const {
    return count == 0 ? 0 : values[count - 1].end();
  }
};

class ValueLogScenario final : public Scenario {
 public:
  explicit ValueLogScenario(Random& config)
      : sections_(config.between(1, 4)), sync_every_(config.between(2, 12)) {
    options_.partition = "values";
    options_.write_buffer_bytes = config.below(300);
    options_.open_sections_max = config.between(1, 8);
    if (config.one_in(3)) options_.compression_level = static_cast<int>(config.below(4));
  }

  [[nodiscard]] Status open(Storage& storage) override {
    RecoveryLog recovery(storage, false);
    TRY_INTO(log_, ValueLog::open(storage, options_, recovery));
    const std::vector<Section> found = log_->sections();
    if (!found.empty() && found.front().value < boundary_) found_.met(kPruneFinished);
    TRY(log_->prune(Section(boundary_)));
    for (const Section section : log_->sections()) {
      const ValueSectionModel& model = models_[section];
      TRY_INTO(const size_t count, readable(section, model));
      TRY_INTO(const uint64_t size, log_->size(section));
      if (size > model.end_of(count)) found_.met(kTornEnd);
      if (count > model.acknowledged) found_.met(kUnpromised);
      if (model.removing) found_.met(kRewindCutOff);
      TRY(log_->rewind_section(section, model.end_of(count)));
      TRY(log_->adopt(section));
    }
    return {};
  }

  [[nodiscard]] Status step(Random& random) override {
    const Section section(boundary_ + random.below(sections_));
    if (random.one_in(sync_every_)) return random.one_in(2) ? sync_all() : sync(section);
    if (random.one_in(30)) return prune(boundary_ + random.between(0, 2));
    if (random.one_in(20))
      return rewind(section, random.below(models_[section].values.size() + 1), random.one_in(2));
    if (random.one_in(6)) return read(section);
    const size_t buffer_bytes = options_.write_buffer_bytes;
    switch (random.below(6)) {
      case 0: return append(section, 0);
      case 1: return append(section, buffer_bytes);
      case 2: return append(section, buffer_bytes + 1);
      default: return append(section, random.below(1200));
    }
  }

  [[nodiscard]] size_t alphabet_size() const override { return 5; }
  [[nodiscard]] Status perform(size_t operation) override {
    const Section oldest(boundary_);
    switch (operation) {
      case 0: return append(oldest, 30);
      case 1: return append(Section(boundary_ + 1), 700);
      case 2: return sync_all();
      case 3: return rewind(oldest, models_[oldest].values.size() / 2, true);
      default: return prune(boundary_ + 1);
    }
  }

  [[nodiscard]] std::optional<std::string> check() override {
    if (problem_) return problem_;
    const Status adopted = adopt_recovered();
    if (!adopted) problem_ = concat("reading fails: ", adopted.error().message);
    return problem_;
  }

  void crash() override { log_.reset(); }

  [[nodiscard]] Reached reached() const override { return found_.counts(); }

 private:
  static constexpr std::string_view kPruneFinished = "a prune that was cut off is finished";
  static constexpr std::string_view kRewindCutOff = "a rewind was cut off: later sections are left";
  static constexpr std::string_view kTornEnd = "bytes behind the last whole value";
  static constexpr std::string_view kUnpromised = "values that no sync covered are left";

  // How many values can be read, up to the first that cannot.
  Result<size_t> readable(Section section, const ValueSectionModel& model) {
    for (size_t i = 0; i < model.values.size(); ++i) {
      auto value = log_->read(section, model.values[i].location);
      if (value) {
        compare(section, i, model.values[i], value->bytes());
        continue;
      }
      if (value.error().code == Errc::corrupt || value.error().code == Errc::out_of_range) return i;
      return pass_on(value);
    }
    return model.values.size();
  }

  void compare(Section section, size_t number, const StoredValue& expected, ByteSpan found) {
    if (!equal_bytes(found, expected.bytes()))
      problem_ = concat("section ", section, ", value ", number, " is not what was written");
  }

  // What is there becomes what must be there.
  Status adopt_recovered() {
    for (const Section section : log_->sections())
      if (section.value < boundary_) problem_ = concat("section ", section, " was pruned");
    bool newer_survived = false;
    for (auto at = models_.rbegin(); at != models_.rend(); ++at) {
      auto& [section, model] = *at;
      const bool is_there = log_->contains(section);
      TRY_INTO(const size_t count, is_there ? readable(section, model) : Result<size_t>(0));
      TRY_INTO(const uint64_t size, log_->size(section));
      if (size != model.end_of(count))
        problem_ = concat("section ", section, " ends at ", size, ", not behind value ", count);
      const bool may_be_gone = model.removing && !is_there && !newer_survived;
      if (count < model.acknowledged && !may_be_gone)
        problem_ = concat("section ", section, " holds ", count, " values of ", model.acknowledged,
                          " that were synced");
      newer_survived |= model.removing && is_there;
      model.values.resize(count);
      model.acknowledged = count;
      model.removing = false;
    }
    return {};
  }

  Status append(Section section, size_t size_bytes) {
    StoredValue value{++last_seed_, size_bytes, {}};
    ValueSectionModel& model = models_[section];
    TRY_INTO(value.location, log_->append(section, value.bytes()));
    if (value.location.offset != model.end_of(model.values.size()))
      problem_ = concat("section ", section, ": appended at ", value.location.offset);
    model.values.push_back(value);
    return {};
  }

  Status read(Section section) {
    const ValueSectionModel& model = models_[section];
    for (size_t i = 0; i < model.values.size(); ++i) {
      TRY_INTO(const Value found, log_->read(section, model.values[i].location));
      compare(section, i, model.values[i], found.bytes());
    }
    return {};
  }

  Status sync(Section section) {
    TRY(log_->sync(section));
    models_[section].acknowledged = models_[section].values.size();
    return {};
  }

  Status sync_all() {
    TRY(log_->sync_all());
    for (auto& [section, model] : models_)
      model.acknowledged = model.values.size();
    return {};
  }

  Status prune(uint64_t oldest_retained) {
    boundary_ = oldest_retained;
    models_.erase(models_.begin(), models_.lower_bound(Section(boundary_)));
    TRY(log_->prune(Section(boundary_)));
    return {};
  }

  Status rewind(Section section, size_t count, bool later_too) {
    ValueSectionModel& model = models_[section];
    model.acknowledged = std::min(model.acknowledged, count);
    const auto later = models_.upper_bound(section);
    for (auto at = later; later_too && at != models_.end(); ++at)
      at->second.removing = true;
    TRY(later_too ? log_->rewind(section, model.end_of(count))
                  : log_->rewind_section(section, model.end_of(count)));
    // A cut is durable, and so is what is left of the section.
    if (count < model.values.size()) model.acknowledged = count;
    model.values.resize(count);
    if (later_too) models_.erase(later, models_.end());
    return {};
  }

  const uint64_t sections_;
  const uint64_t sync_every_;
  ValueLogOptions options_;
  std::unique_ptr<ValueLog> log_;
  std::optional<std::string> problem_;
  testkit::RareFindings found_ = {
      kPruneFinished,           kRewindCutOff,           kTornEnd, kUnpromised,
      testkit::rare::kFileBack, testkit::rare::kTornFile};

  std::map<Section, ValueSectionModel> models_;
  uint64_t boundary_ = 0;  // the owner's: it repeats prunes that a crash cut off
  uint64_t last_seed_ = 0;
};

}  // namespace

testkit::ScenarioFactory value_log_scenario() {
  return [](Random& config) { return std::make_unique<ValueLogScenario>(config); };
}

}  // namespace firn::sim
