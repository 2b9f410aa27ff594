// SPDX-License-Identifier: Apache-2.0
//
// Crash scenario of MetadataStore: keys are put, replaced and removed, alone, in batches and by
// comparison, and committed. The open store is its model's map after each of them. After a crash
// the map is the last acknowledged one, or the one whose commit was under way, as a whole.
#include "firn/metadata/metadata_store.h"

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "firn/base/text.h"
#include "sim/scenarios.h"
#include "testkit/rare_findings.h"

namespace firn::sim {
namespace {

using testkit::Scenario;

using Map = std::map<std::string, std::string>;

class MetadataStoreScenario final : public Scenario {
 public:
  explicit MetadataStoreScenario(Random& config)
      : keys_(config.one_in(4) ? config.between(7, 40) : config.between(1, 6)),
        value_size_max_(config.one_in(2) ? 40 : 1500) {}

  [[nodiscard]] Status open(Storage& storage) override {
    recovery_.emplace(storage, false);
    TRY_INTO(store_, MetadataStore::open(storage, {}, *recovery_));
    found_.count(recovery_->report());
    return {};
  }

  [[nodiscard]] Status step(Random& random) override {
    const uint64_t changes = random.below(4);
    for (uint64_t i = 0; i < changes; ++i)
      TRY(mutate(random));
    if (random.one_in(5)) return {};
    return commit(random.one_in(4));
  }

  [[nodiscard]] size_t alphabet_size() const override { return 5; }
  [[nodiscard]] Status perform(size_t operation) override {
    const char letter = static_cast<char>('a' + performed_++ % 26);
    Map after = model_;
    switch (operation) {
      case 0: after[name(0)] = std::string(20, letter); break;
      case 1: after[name(0)] = std::string(500 + performed_, letter); break;
      case 2: after.erase(name(0)); break;
      case 3:
        after[name(0)] = std::string(20, letter);
        after[name(1)] = std::string(700, letter);
        break;
      default: return commit(true);
    }
    TRY(apply(after));
    return commit(false);
  }

  [[nodiscard]] std::optional<std::string> check() override {
    if (mismatch_) return mismatch_;
    const Map recovered = content();
    if (recovered != acknowledged_ && recovered != issued_)
      return concat("a map of ", recovered.size(), " keys, version ", store_->version(),
                    ", is neither the acknowledged one nor the one that was being committed");
    acknowledged_ = recovered;
    issued_ = recovered;
    model_ = recovered;
    return std::nullopt;
  }

  void crash() override { store_.reset(); }

  [[nodiscard]] Reached reached() const override { return found_.counts(); }

 private:
  static std::string name(uint64_t key) { return concat("key-", 1000 + key); }

  [[nodiscard]] Map content() const {
    Map map;
    store_->for_each(
        [&](ByteSpan key, ByteSpan value) { map.emplace(as_text(key), as_text(value)); });
    return map;
  }

  Status mutate(Random& random) {
    Map after = model_;
    const uint64_t choice = random.below(8);
    if (choice == 0) return random.one_in(3) ? drop_some(random) : compare_and_set(random);
    const uint64_t changes = choice < 3 ? random.between(2, 5) : 1;
    for (uint64_t i = 0; i < changes; ++i) {
      const std::string key = name(random.below(keys_));
      if (random.one_in(6))
        after.erase(key);
      else
        after[key] = random_value(random, key);
    }
    return changes == 1 ? change_one(after) : apply(after);
  }

  // Often of the size that is there: such values are overwritten in place.
  std::string random_value(Random& random, const std::string& key) {
    const auto held = model_.find(key);
    const size_t size = held != model_.end() && random.one_in(2)
                            ? held->second.size()
                            : random.below(value_size_max_ + 1);
    return std::string(as_text(random.bytes(size)));
  }

  // Makes the store hold `after`, at once.
  Status apply(const Map& after) {
    MetadataBatch batch;
    for (const auto& [key, value] : model_)
      if (!after.contains(key)) batch.remove(as_bytes(key));
    for (const auto& [key, value] : after)
      if (const auto held = model_.find(key); held == model_.end() || held->second != value)
        batch.put(as_bytes(key), as_bytes(value));
    return expect(store_->apply(batch), after);
  }

  // The same, if at most one key differs, without a batch.
  Status change_one(const Map& after) {
    for (const auto& [key, value] : model_)
      if (!after.contains(key)) return expect(store_->remove(as_bytes(key)), after);
    for (const auto& [key, value] : after)
      if (const auto held = model_.find(key); held == model_.end() || held->second != value)
        return expect(store_->put(as_bytes(key), as_bytes(value)), after);
    return {};
  }

  // Everything, or the keys of one parity.
  Status drop_some(Random& random) {
    if (random.one_in(3)) return expect(store_->clear(), {});
    const bool kept = random.one_in(2);
    const auto keep = [kept](ByteSpan key, ByteSpan) {
      return ((key.back() & std::byte{1}) != std::byte{0}) == kept;
    };
    Map after = model_;
    std::erase_if(after, [&](const auto& pair) { return !keep(as_bytes(pair.first), {}); });
    return expect(store_->retain(keep), after);
  }

  Status compare_and_set(Random& random) {
    const std::string key = name(random.below(keys_));
    const auto held = model_.find(key);
    const std::string wrong = random_value(random, key);
    const bool is_right = random.one_in(2);
    std::optional<ByteSpan> expected;
    if (is_right && held != model_.end()) expected = as_bytes(held->second);
    if (!is_right) expected = as_bytes(wrong);
    const bool must_be_set = is_right || (held != model_.end() && held->second == wrong);
    Map after = model_;
    if (must_be_set) after[key] = "compared and set";
    const auto compared =
        store_->compare_and_set(as_bytes(key), expected, as_bytes("compared and set"));
    if (!compared) return expect(fail(compared.error().code, compared.error().message), after);
    if ((*compared == MetadataStore::Comparison::equal) != must_be_set)
      mismatch_ = concat("comparing the value of ", key, " went wrong");
    return expect({}, after);
  }

  // What was refused must have changed nothing.
  Status expect(Status outcome, const Map& after) {
    if (outcome) model_ = after;
    if (content() != model_ && !mismatch_)
      mismatch_ = concat("after a mutation, the map of ", content().size(),
                         " keys is not the model's of ", model_.size());
    return outcome;
  }

  Status commit(bool both) {
    issued_ = model_;
    TRY(both ? store_->sync_both() : store_->sync());
    acknowledged_ = issued_;
    return {};
  }

  uint64_t keys_;
  uint64_t value_size_max_;
  uint64_t performed_ = 0;
  testkit::RareFindings found_ = {"nothing is missing", "may be missing, unless",
                                  "it has no content", "the first commit was cut off",
                                  testkit::rare::kTornFile};
  std::optional<RecoveryLog> recovery_;
  std::unique_ptr<MetadataStore> store_;
  Map model_;         // what the open store holds
  Map issued_;        // what the last sync was to make durable
  Map acknowledged_;  // what the last sync that succeeded made durable
  std::optional<std::string> mismatch_;
};

}  // namespace

testkit::ScenarioFactory metadata_store_scenario() {
  return [](Random& config) { return std::make_unique<MetadataStoreScenario>(config); };
}

}  // namespace firn::sim
