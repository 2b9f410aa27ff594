// SPDX-License-Identifier: Apache-2.0
#include "testkit/survivors.h"

#include <algorithm>

#include "firn/base/check.h"
#include "firn/base/random.h"
#include "firn/base/text.h"

namespace firn::testkit {
namespace {

// How a random plan leans; see SurvivorPlan::random.
enum class Mood : uint8_t {
  even,
  mostly_kept,
  mostly_lost,
  per_page,
  per_owner,
  prefix_with_torn_end,
  metadata_kept,
  data_kept,
  metadata_in_order,
  clean,
};
constexpr uint64_t kMoods = 10;

bool chance(Random& random, uint64_t numerator, uint64_t denominator) {
  return random.below(denominator) < numerator;
}

Fate kept_or_lost(bool keep) {
  return {keep ? Fate::Kind::kept : Fate::Kind::lost, 0, 0};
}

bool is_metadata(const PendingItem& item) {
  return item.kind != PendingItem::Kind::data;
}

Fate torn(Random& random, const PendingItem& item) {
  switch (random.below(4)) {
    case 0: return {Fate::Kind::front, random.below(item.size + 1), 0};
    case 1: return {Fate::Kind::back, random.below(item.size + 1), 0};
    case 2: return {Fate::Kind::mixed, 0, random.next()};
    default: return {Fate::Kind::garbage, 0, random.next()};
  }
}

// Kept and lost in the given proportion; one data item in eight is torn.
Fate drawn(Random& random, const PendingItem& item, uint64_t kept_of_eight) {
  if (!is_metadata(item) && chance(random, 1, 8)) return torn(random, item);
  return kept_or_lost(chance(random, kept_of_eight, 8));
}

class RandomFates {
 public:
  RandomFates(uint64_t seed, size_t count)
      : random_(seed),
        mood_(static_cast<Mood>(random_.below(kMoods))),
        group_seed_(random_.next()),
        border_(random_.below(count + 1)) {}

  Fate next(const PendingItem& item, size_t index) {
    switch (mood_) {
      case Mood::even:
        return is_metadata(item) || chance(random_, 1, 2) ? kept_or_lost(chance(random_, 1, 2))
                                                          : torn(random_, item);
      case Mood::mostly_kept: return drawn(random_, item, 7);
      case Mood::mostly_lost: return drawn(random_, item, 1);
      case Mood::per_page:
        return is_metadata(item) ? kept_or_lost(chance(random_, 3, 4))
                                 : kept_or_lost(group_coin(item, item.offset));
      case Mood::per_owner: return kept_or_lost(group_coin(item, 0));
      case Mood::prefix_with_torn_end:
        if (index == border_ && !is_metadata(item)) return torn(random_, item);
        return kept_or_lost(index < border_);
      case Mood::metadata_kept:
        return is_metadata(item) ? kept_or_lost(true) : drawn(random_, item, 3);
      case Mood::data_kept:
        return is_metadata(item) ? kept_or_lost(chance(random_, 1, 2)) : kept_or_lost(true);
      case Mood::metadata_in_order:
        return is_metadata(item) ? kept_or_lost(index < border_) : drawn(random_, item, 4);
      case Mood::clean: return kept_or_lost((group_seed_ & 1) != 0);
    }
    UNREACHABLE("unknown mood");
  }

 private:
  bool group_coin(const PendingItem& item, uint64_t offset) const {
    const uint64_t page = offset / kDevicePageSizeBytes;
    uint64_t state = group_seed_ ^ (item.owner << 32) ^ page;
    return (split_mix64(state) & 1) != 0;
  }

  Random random_;
  Mood mood_;
  uint64_t group_seed_;
  uint64_t border_;
};

}  // namespace

bool SurvivorPlan::keeps(const PendingItem& item, uint64_t index) const {
  switch (kind_) {
    case Kind::none: return false;
    case Kind::all: return true;
    case Kind::subset: return index < 64 && ((number_ >> index) & 1) != 0;
    case Kind::only: return index == number_;
    case Kind::all_but: return index != number_;
    case Kind::first: return index < number_;
    case Kind::all_after: return index >= number_;
    case Kind::metadata_only: return is_metadata(item);
    case Kind::data_only: return !is_metadata(item);
    case Kind::random: break;
  }
  UNREACHABLE("a random plan does not choose item by item");
}

std::vector<Fate> SurvivorPlan::fates(std::span<const PendingItem> items) const {
  std::vector<Fate> fates(items.size());
  if (kind_ == Kind::none) return fates;
  if (kind_ == Kind::random) {
    RandomFates random(number_, items.size());
    for (size_t i = 0; i < items.size(); ++i)
      fates[i] = random.next(items[i], i);
    return fates;
  }
  for (size_t i = 0; i < items.size(); ++i)
    fates[i] = kept_or_lost(keeps(items[i], i));
  return fates;
}

std::string SurvivorPlan::description() const {
  switch (kind_) {
    case Kind::none: return "none";
    case Kind::all: return "all";
    case Kind::subset: return concat("subset with bits ", number_);
    case Kind::only: return concat("only item ", number_);
    case Kind::all_but: return concat("all but item ", number_);
    case Kind::first: return concat("the first ", number_);
    case Kind::all_after: return concat("all after the first ", number_);
    case Kind::metadata_only: return "metadata only";
    case Kind::data_only: return "data only";
    case Kind::random: return concat("random with seed ", number_);
  }
  UNREACHABLE("unknown plan");
}

std::vector<SurvivorPlan> survivor_plans(size_t pending_count, size_t exhaustive_limit) {
  std::vector<SurvivorPlan> plans;
  if (pending_count <= std::min<size_t>(exhaustive_limit, 20)) {
    for (uint64_t bits = 0; bits < (uint64_t{1} << pending_count); ++bits)
      plans.push_back(SurvivorPlan::subset(bits));
    return plans;
  }
  plans = {SurvivorPlan::none(), SurvivorPlan::all(), SurvivorPlan::metadata_only(),
           SurvivorPlan::data_only()};
  for (uint64_t item = 0; item < pending_count; ++item) {
    plans.push_back(SurvivorPlan::only(item));
    plans.push_back(SurvivorPlan::all_but(item));
  }
  // The prefixes and suffixes of one item, and of all but one, are in the list already.
  for (uint64_t count = 2; count + 1 < pending_count; ++count) {
    plans.push_back(SurvivorPlan::first(count));
    plans.push_back(SurvivorPlan::all_after(count));
  }
  return plans;
}

std::vector<SurvivorPlan> few_survivor_plans(size_t pending_count) {
  std::vector<SurvivorPlan> plans = {SurvivorPlan::none()};
  if (pending_count == 0) return plans;
  plans.push_back(SurvivorPlan::all());
  plans.push_back(SurvivorPlan::metadata_only());
  plans.push_back(SurvivorPlan::data_only());
  if (pending_count > 1) {
    plans.push_back(SurvivorPlan::first(pending_count / 2));
    plans.push_back(SurvivorPlan::all_after(pending_count / 2));
  }
  return plans;
}

}  // namespace firn::testkit
