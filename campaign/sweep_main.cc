// SPDX-License-Identifier: Apache-2.0
//
// firn_sweep: every damage to small stores of every structure, one at a time. After each, the store
// opens or says why not, and every item that was synced is there, or an error says that it is not:
// never another value, never "not found" without a word, never a crash, and within a second.
#include <algorithm>
#include <cstdio>
#include <ctime>

#include "campaign/stage.h"
#include "campaign/swept_stores.h"
#include "campaign/watchdog.h"
#include "firn/base/text.h"

namespace firn::campaign {
namespace {

constexpr size_t kSectorBytes = 512;
constexpr double kCaseMaxSeconds = 1;  // of this process

double processor_seconds() {
  timespec time{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

std::string text_of(const FileName& name) {
  return concat(name.first, "/", to_hex(name.second));
}

// One store and everything that is done to it.
class Sweep {
 public:
  Sweep(Stage& stage, const SweptKind& kind, uint64_t seed, Ending ending)
      : stage_(stage), row_(kind.name), limits_(kind.limits), seed_(seed) {
    Random random(seed * 2 + (ending == Ending::closed ? 0 : 1));
    watch(concat(kind.name, ", seed ", seed, ending == Ending::closed ? ", closed" : ", killed"));
    store_ = kind.make(random, ending);
    undamaged_ = read(store_.files);
    for (size_t i = 0; i < store_.synced_count; ++i)
      if (!undamaged_.is_open || undamaged_.answers[i] != Answer::right)
        stage_.add_violation(row_, seed_, "an undamaged store lacks an item that was synced");
  }

  void run() {
    for (const auto& [name, content] : store_.files) {
      watch_on();
      flip_bits(name, content);
      cut(name, content);
      damage_sectors(name, content);
      exchange(name, content);
    }
    watch_no_more();
    stage_.add_note(row_, "stores");
  }

 private:
  [[nodiscard]] Reading read(const Files& files) const {
    MemoryStorage storage;
    for (const auto& [name, content] : files)
      storage.set_raw(name.first, name.second, content);
    return store_.read(storage);
  }

  // Returns whether the damage, done to the named file, had any effect.
  bool judge(const Files& files, const FileName& name, std::string_view damage,
             const auto&... where) {
    const double begin = processor_seconds();
    const Reading reading = read(files);
    const double seconds = processor_seconds() - begin;
    stage_.add_case(row_);
    const auto violated = [&](const auto&... how) {
      stage_.add_violation(
          row_, seed_, concat(watched(), ": ", damage, " ", text_of(name), where..., ": ", how...));
    };
    if (seconds > kCaseMaxSeconds) violated("it takes more than a second");
    const bool has_limit = std::ranges::any_of(limits_, [&](const Limit& limit) {
      return limit.damage == damage && limit.partition == name.first;
    });
    const bool is_silent = reading.report == undamaged_.report;
    for (size_t i = 0; i < reading.answers.size(); ++i) {
      const bool is_missing =
          reading.answers[i] == Answer::absent && i < store_.synced_count && is_silent;
      if (!is_missing && reading.answers[i] != Answer::wrong) continue;
      if (has_limit) {
        stage_.add_note(row_, concat("unseen: ", damage, " in ", name.first));
        break;
      }
      violated("item ", i, is_missing ? " is missing, and nobody said so" : " is another one");
    }
    return reading != undamaged_;
  }

  // The store with one file replaced.
  bool judge_with(const FileName& name, Bytes content, std::string_view damage,
                  const auto&... where) {
    Bytes& place = files_of_case()[name];
    std::swap(place, content);
    const bool has_effect = judge(*changed_, name, damage, where...);
    std::swap(place, content);
    return has_effect;
  }

  Files& files_of_case() {
    if (!changed_) changed_ = store_.files;
    return *changed_;
  }

  void flip_bits(const FileName& name, const Bytes& content) {
    for (size_t offset = 0; offset < content.size(); ++offset) {
      for (unsigned bit = 0; bit < 8; ++bit) {
        Bytes flipped = content;
        flipped[offset] ^= std::byte(1u << bit);
        if (!judge_with(name, std::move(flipped), "flipped bit", " ", bit, " at ", offset))
          stage_.add_note(row_, concat("flips in ", name.first, " without effect"));
        stage_.add_note(row_, "flips");
      }
    }
  }

  void cut(const FileName& name, const Bytes& content) {
    for (size_t size = 0; size < content.size(); ++size)
      judge_with(name, Bytes(content.begin(), content.begin() + static_cast<ptrdiff_t>(size)),
                 "cut", " to ", size);
  }

  void damage_sectors(const FileName& name, const Bytes& content) {
    const auto sector = [](Bytes& bytes, size_t begin) {
      return MutableByteSpan(bytes).subspan(begin, std::min(kSectorBytes, bytes.size() - begin));
    };
    for (size_t begin = 0; begin < content.size(); begin += kSectorBytes) {
      Bytes zeroed = content;
      std::ranges::fill(sector(zeroed, begin), std::byte{0});
      judge_with(name, std::move(zeroed), "zeroed sector", " at ", begin);
      for (const Files& earlier : store_.earlier) {
        const auto found = earlier.find(name);
        if (found == earlier.end() || found->second.size() <= begin) continue;
        Bytes stale = content;
        Bytes old = found->second;
        const size_t size = std::min(sector(stale, begin).size(), sector(old, begin).size());
        copy_bytes(sector(stale, begin), sector(old, begin).first(size));
        // A whole file that went back in time is a valid one: nothing in it can tell.
        if (stale != content && stale != found->second)
          judge_with(name, std::move(stale), "earlier content of the sector", " at ", begin);
      }
      for (size_t other = 0; other + kSectorBytes <= content.size(); other += kSectorBytes) {
        if (other == begin || begin + kSectorBytes > content.size()) continue;
        Bytes duplicated = content;
        copy_bytes(sector(duplicated, other), ByteSpan(content).subspan(begin, kSectorBytes));
        Bytes swapped = duplicated;
        copy_bytes(sector(swapped, begin), ByteSpan(content).subspan(other, kSectorBytes));
        judge_with(name, std::move(duplicated), "sector", " at ", begin, " also at ", other);
        if (other > begin)
          judge_with(name, std::move(swapped), "sectors swapped", " at ", begin, " and ", other);
      }
    }
  }

  void exchange(const FileName& name, const Bytes& content) {
    Files without = store_.files;
    without.erase(name);
    judge(without, name, "removed");
    judge_with(name, Bytes(), "emptied");
    for (const auto& [sibling, other] : store_.files) {
      if (sibling.first != name.first || sibling <= name) continue;
      Files exchanged = store_.files;
      exchanged[name] = other;
      exchanged[sibling] = content;
      judge(exchanged, name, "exchanged", " and ", text_of(sibling));
    }
  }

  Stage& stage_;
  const std::string row_;
  const std::span<const Limit> limits_;
  const uint64_t seed_;
  SweptStore store_;
  Reading undamaged_;
  std::optional<Files> changed_;  // equal to the store's files between cases
};

int run(const StageArguments& arguments) {
  install_watchdog();
  Stage stage("sweep", arguments);
  stage.run_in_turns(swept_kinds(), [&](const SweptKind& kind, uint64_t seed) {
    for (const Ending ending : {Ending::closed, Ending::killed})
      Sweep(stage, kind, seed, ending).run();
  });
  return stage.finish();
}

}  // namespace
}  // namespace firn::campaign

int main(int argc, char** argv) {
  const auto arguments =
      firn::campaign::parse_stage_arguments(argc, argv, firn::campaign::StageNeeds::nothing);
  if (!arguments) {
    std::fprintf(stderr, "firn_sweep: %s\n", arguments.error().message.c_str());
    return 2;
  }
  return firn::campaign::run(*arguments);
}
