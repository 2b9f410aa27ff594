// SPDX-License-Identifier: Apache-2.0
//
// firn archive: import of lines with acknowledgements, and prune.
#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <string_view>

#include "campaign/subject.h"
#include "firn/base/check.h"
#include "firn/base/text.h"

namespace firn::campaign {
namespace {

// The number that `text` begins with, or nothing.
std::optional<uint64_t> leading_number(std::string_view text) {
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc()) return std::nullopt;
  return number;
}

class ArchiveSubject final : public Subject {
 public:
  ArchiveSubject(std::string store, uint64_t seed, Random& random)
      : store_(std::move(store)), seed_(seed) {
    constexpr std::array<uint64_t, 7> kItemsPerSection = {1, 2, 5, 17, 64, 300, 65'536};
    constexpr std::array<uint64_t, 4> kPageSizes = {64, 200, 1000, 4084};
    items_per_section_ = kItemsPerSection[random.below(kItemsPerSection.size())];
    geometry_ = {"--items-per-section", concat(items_per_section_), "--page-size",
                 concat(kPageSizes[random.below(kPageSizes.size())])};
    if (random.one_in(3)) geometry_.insert(geometry_.end(), {"--compression", "1"});
  }

  [[nodiscard]] std::unique_ptr<Subject> clone() const override {
    return std::make_unique<ArchiveSubject>(*this);
  }

  [[nodiscard]] Call recovering_call() const override {
    Call call{
        .arguments = {"archive", "import", store_, "-", "--lines"}, .input = {}, .exit_code = 0};
    call.arguments.insert(call.arguments.end(), geometry_.begin(), geometry_.end());
    return call;
  }

  Call next_call(Random& random) override {
    ++generation_;
    prune_to_.reset();
    if (end() > first_ && random.one_in(5)) return prune(random);
    return import(random);
  }

  std::optional<Call> next_call_with_buffers(Random& random) override {
    ++generation_;
    prune_to_.reset();
    Call call = import(random);
    give_to_writer(call, random);
    return call;
  }

  void observe(const Outcome& outcome) override {
    if (prune_to_) {
      if (outcome.exit_code == 0) first_durable_ = std::max(first_durable_, *prune_to_);
      return;
    }
    if (outcome.exit_code == 0) end_acknowledged_ = end();
    for (const std::string_view line : lines_of(outcome.output)) {
      constexpr std::string_view kSynced = "synced ";
      if (!line.starts_with(kSynced)) continue;
      const auto last = leading_number(line.substr(kSynced.size()));
      CHECK(last && *last < end(), "the command acknowledges what it was given");
      end_acknowledged_ = std::max(end_acknowledged_, *last + 1);
    }
  }

  Status check(const Firn& firn, Random& random, bool thorough, Settled settled) override {
    const bool must_exist = end_acknowledged_ > 0;
    // Code 2: there is no such store.
    TRY_INTO(const std::string listed,
             firn.output({"archive", "list", store_}, must_exist ? 0 : 2));
    TRY(check_indices(lines_of(listed)));
    TRY_INTO(const std::string exported,
             firn.output({"archive", "export", store_, "--lines"}, must_exist ? 0 : 2));
    TRY(check_contents(lines_of(exported)));
    if (thorough) TRY(check_thoroughly(firn, random, lines_of(listed)));
    is_made_ = end_acknowledged_ > 0;
    if (settled == Settled::yes) {
      is_made_ = is_made_ || end() > 0;
      first_durable_ = first_;
      end_acknowledged_ = end();
    }
    return {};
  }

 private:
  [[nodiscard]] uint64_t end() const { return base_ + generations_.size(); }

  [[nodiscard]] std::string content(uint64_t index) const {
    const uint64_t generation = generations_[index - base_];
    return concat(index, " ", generation, " ",
                  drawn_text(seed_ ^ (index * 0x9e3779b97f4a7c15) ^ (generation << 40)));
  }

  Call import(Random& random) {
    constexpr uint64_t kSectionsMax = 12;
    const uint64_t count =
        std::min(random.below(random.one_in(3) ? 400 : 30), items_per_section_ * kSectionsMax);
    Call call;
    for (uint64_t i = 0; i < count; ++i) {
      generations_.push_back(generation_);
      call.input += content(end() - 1);
      call.input += '\n';
      if (call.input.size() > kInputMaxBytes) {
        call.input.resize(call.input.size() - content(end() - 1).size() - 1);
        generations_.pop_back();
        break;
      }
    }
    call.arguments = {"archive", "import", store_, "-", "--lines", "--ack"};
    if (!random.one_in(8)) {
      call.arguments.insert(call.arguments.end(), {"--sync-every", concat(random.between(1, 60))});
    }
    // A store knows what it is; saying it again is allowed.
    if (!is_made_ || random.one_in(10))
      call.arguments.insert(call.arguments.end(), geometry_.begin(), geometry_.end());
    return call;
  }

  Call prune(Random& random) {
    const uint64_t before = random.between(first_, end());
    prune_to_ = std::max(first_, before - before % items_per_section_);
    return {.arguments = {"archive", "prune", store_, "--before", concat(before)},
            .input = {},
            .exit_code = 0};
  }

  // Consecutive, from an allowed first one to an allowed last one; what is there becomes known.
  Status check_indices(const std::vector<std::string_view>& listed) {
    // Nothing is left only after a prune of everything, or while nothing is acknowledged.
    uint64_t first = prune_to_ == end() ? end() : first_;
    if (!listed.empty()) first = leading_number(listed.front()).value_or(UINT64_MAX);
    if (first != first_ && first != first_durable_ && first != prune_to_) {
      return violation("the first index is ", first, ", expected ", first_, " or ", first_durable_,
                       prune_to_ ? concat(" or ", *prune_to_) : std::string());
    }
    if (first < first_durable_) {
      return violation("index ", first, " is back, although items below ", first_durable_,
                       " were pruned");
    }
    for (size_t i = 0; i < listed.size(); ++i) {
      const auto index = leading_number(listed[i]);
      if (index != first + i) {
        return violation("there is a hole, or an index twice: ", first + i, " was expected, not '",
                         listed[i], "'");
      }
    }
    const uint64_t end_found = first + listed.size();
    if (end_found < end_acknowledged_) {
      return violation("items up to ", end_acknowledged_ - 1, " were acknowledged, but those from ",
                       end_found, " on are gone");
    }
    if (end_found > end()) {
      return violation("there are items up to ", end_found - 1, ", but only those up to ",
                       end() - 1, " were ever given to the command");
    }
    first_ = first;
    generations_.resize(end_found - base_);
    // What nothing can bring back any more.
    generations_.erase(generations_.begin(),
                       generations_.begin() + static_cast<ptrdiff_t>(first_durable_ - base_));
    base_ = first_durable_;
    return {};
  }

  Status check_contents(const std::vector<std::string_view>& exported) const {
    if (exported.size() != end() - first_) {
      return violation(exported.size(), " items are exported, but ", end() - first_, " are listed");
    }
    for (size_t i = 0; i < exported.size(); ++i) {
      const std::string expected = content(first_ + i);
      if (exported[i] != expected) {
        return violation("item ", first_ + i, " is '", exported[i].substr(0, 60), "', expected '",
                         expected.substr(0, 60), "'");
      }
    }
    return {};
  }

  // By its key and by its number, and whatever else the command knows to find wrong.
  Status check_thoroughly(const Firn& firn, Random& random,
                          const std::vector<std::string_view>& listed) const {
    if (end() == 0) return {};
    TRY(firn.output({"verify", store_, "--deep"}));
    if (listed.empty()) return {};
    const uint64_t at = random.below(listed.size());
    const std::string_view line = listed[at];
    const size_t tab = line.find('\t');
    const std::string key(line.substr(tab + 1, line.find('\t', tab + 1) - tab - 1));
    for (const auto& [how, what] :
         {std::pair<std::string, std::string>("--key", key), {"--index", concat(first_ + at)}}) {
      TRY_INTO(const std::string got, firn.output({"archive", "get", store_, how, what}));
      if (got != content(first_ + at))
        return violation("get ", how, " ", what, " gave '", got.substr(0, 60), "'");
    }
    TRY_INTO(const std::string gaps, firn.output({"archive", "gaps", store_}));
    if (!gaps.empty() && first_ == 0) return violation("there is a gap: ", gaps);
    return {};
  }

  template <class... Pieces>
  static std::unexpected<Error> violation(const Pieces&... pieces) {
    return fail(Errc::corrupt, concat(pieces...));
  }

  const std::string store_;
  const uint64_t seed_;
  uint64_t items_per_section_ = 0;
  std::vector<std::string> geometry_;
  bool is_made_ = false;
  uint64_t generation_ = 0;  // of the current call
  // Generations of the items from base_ on, each as it was given to the command last.
  uint64_t base_ = 0;
  std::vector<uint64_t> generations_;
  uint64_t first_ = 0;                // as seen last
  uint64_t first_durable_ = 0;        // no crash brings back what is below
  std::optional<uint64_t> prune_to_;  // the current call is a prune
  uint64_t end_acknowledged_ = 0;
};

}  // namespace

std::unique_ptr<Subject> make_archive_subject(const std::string& store, uint64_t seed,
                                              Random& random) {
  return std::make_unique<ArchiveSubject>(store, seed, random);
}

}  // namespace firn::campaign
