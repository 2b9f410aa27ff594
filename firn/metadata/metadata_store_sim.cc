// SPDX-License-Identifier: Apache-2.0
//
// Crash scenario of MetadataStore: a few keys are put, replaced and removed, and committed. After a
// crash the map is the last acknowledged one, or the one whose commit was under way, as a whole.
#include "firn/metadata/metadata_store.h"

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "firn/base/text.h"
#include "sim/scenarios.h"

namespace firn::sim {
namespace {

using testkit::Scenario;

using Map = std::map<std::string, std::string>;

class MetadataStoreScenario final : public Scenario {
 public:
  explicit MetadataStoreScenario(Random& config)
      : keys_(config.between(1, 6)), value_size_max_(config.one_in(2) ? 40 : 1500) {}

  [[nodiscard]] Status open(Storage& storage) override {
    recovery_.emplace(storage, false);
    TRY_INTO(store_, MetadataStore::open(storage, {}, *recovery_));
    return {};
  }

  [[nodiscard]] Status step(Random& random) override {
    const uint64_t changes = random.below(4);
    for (uint64_t i = 0; i < changes; ++i) {
      const uint64_t key = random.below(keys_);
      // Often of the size that is there: such values are overwritten in place.
      const auto held = store_->get(as_bytes(name(key)));
      const size_t size =
          held && random.one_in(2) ? held->size() : random.below(value_size_max_ + 1);
      TRY(random.one_in(6) ? store_->remove(as_bytes(name(key)))
                           : store_->put(as_bytes(name(key)), random.bytes(size)));
    }
    if (random.one_in(5)) return {};
    return commit(random.one_in(4));
  }

  [[nodiscard]] size_t alphabet_size() const override { return 4; }
  [[nodiscard]] Status perform(size_t operation) override {
    const char letter = static_cast<char>('a' + performed_++ % 26);
    switch (operation) {
      case 0: TRY(store_->put(as_bytes(name(0)), as_bytes(std::string(20, letter)))); break;
      case 1:
        TRY(store_->put(as_bytes(name(0)), as_bytes(std::string(500 + performed_, letter))));
        break;
      case 2: TRY(store_->remove(as_bytes(name(0)))); break;
      default: return commit(true);
    }
    return commit(false);
  }

  [[nodiscard]] std::optional<std::string> check() override {
    const Map recovered = content();
    if (recovered != acknowledged_ && recovered != issued_)
      return concat("a map of ", recovered.size(), " keys, version ", store_->version(),
                    ", is neither the acknowledged one nor the one that was being committed");
    acknowledged_ = recovered;
    issued_ = recovered;
    return std::nullopt;
  }

  void crash() override { store_.reset(); }

 private:
  static std::string name(uint64_t key) { return concat("key-", 1000 + key); }

  [[nodiscard]] Map content() const {
    Map map;
    store_->for_each(
        [&](ByteSpan key, ByteSpan value) { map.emplace(as_text(key), as_text(value)); });
    return map;
  }

  // A poisoned store refuses changes, so what it holds is what its failed commit issued.
  Status commit(bool both) {
    issued_ = content();
    TRY(both ? store_->sync_both() : store_->sync());
    acknowledged_ = issued_;
    return {};
  }

  uint64_t keys_;
  uint64_t value_size_max_;
  uint64_t performed_ = 0;
  std::optional<RecoveryLog> recovery_;
  std::unique_ptr<MetadataStore> store_;
  Map acknowledged_;
  Map issued_;
};

}  // namespace

testkit::ScenarioFactory metadata_store_scenario() {
  return [](Random& config) { return std::make_unique<MetadataStoreScenario>(config); };
}

}  // namespace firn::sim
