// SPDX-License-Identifier: Apache-2.0
//
// firn_sweep: every damage to small stores of every structure, one at a time. After each, a reader
// and a writer open the store, or are told why not, and every item that was synced is there, or an
// error or a finding says that it is not, which names the damaged file, and the reference of
// recovery does not find it in the bytes either (of a value log, which has no index, the sweep
// itself knows each location and what a sync covered): never another value, never "not found"
// without a word, never a crash, and within a second. A reader changes nothing. Nor does a strict
// open for writing that refuses: it refuses what the ordinary one refuses, cuts or calls damaged,
// and else only what verify finds, which tells of a flipped bit in a few findings. What does not
// open for reading is salvaged: every put is there whose bytes the damage left alone, nothing else
// is, and a file is named if something is missing. A byte whose flip changes nothing is on a list
// of such bytes, which has nothing else. So are the kinds of damage which the formats cannot tell;
// where keys are made of contents, comparing them tells those, too. Now and then a store is large:
// of the damages that are many there, a sample is tried.
#include <algorithm>
#include <array>
#include <ctime>
#include <map>
#include <optional>

#include <malloc.h>

#include "campaign/stage.h"
#include "campaign/sweep_census.h"
#include "campaign/swept_stores.h"
#include "campaign/unused_bytes.h"
#include "campaign/watchdog.h"
#include "firn/base/crc32c.h"
#include "firn/base/endian.h"
#include "firn/base/random.h"
#include "firn/base/text.h"
#include "firn/io/page_record.h"
#include "firn/journal/value_entry.h"

namespace firn::campaign {
namespace {

constexpr size_t kSectorBytes = 512;
constexpr double kCaseMaxSeconds = 1;  // of this process
// Of what is tried on each file of a large store.
constexpr uint64_t kSampledBits = 200;
constexpr uint64_t kSampledLengths = 50;
constexpr uint64_t kSampledPairs = 50;
constexpr uint64_t kBitsInBothCopies = 32;  // of any store
constexpr int64_t kFindingsOfABitMax = 3;
constexpr uint64_t kSeedsForALargeOne = 9;  // odd: closed ones and killed ones
constexpr std::string_view kFlippedBit = "flipped bit";
constexpr std::array kAccesses = {Access::reading, Access::writing};

std::string_view text_of(Access access) {
  switch (access) {
    case Access::reading: return "reading: ";
    case Access::writing: return "writing: ";
    case Access::writing_strictly: return "writing, strictly: ";
  }
  return "";
}

double processor_seconds() {
  timespec time{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

// One store and everything that is done to it.
class Sweep {
 public:
  Sweep(Stage& stage, Census& census, const SweptKind& kind, uint64_t seed, Ending ending,
        Scale scale)
      : stage_(stage),
        census_(census),
        row_(kind.name),
        kind_(kind),
        seed_(seed),
        is_small_(scale == Scale::small),
        random_(seed) {
    watch(concat(kind.name, ", seed ", seed, ending == Ending::closed ? ", closed" : ", killed",
                 is_small_ ? "" : ", large"));
    store_ = kind.make(random_, ending, scale);
    unused_.emplace(store_);
    for (const Access access : kAccesses) {
      MemoryStorage storage;
      load_files(storage, store_.files);
      undamaged_.push_back(store_.read(storage, access));
      const Reading& reading = undamaged_.back();
      for (size_t i = 0; i < store_.synced_count; ++i)
        if (!reading.is_open() || reading.answers[i] != Answer())
          stage_.add_violation(row_, seed_, "an undamaged store lacks an item that was synced");
      if (has_manifest() && reading.was_clean != (ending == Ending::closed))
        stage_.add_violation(row_, seed_, "it is not known how the last writer ended");
    }
  }

  void run() {
    if (kind_.has_strict) {
      MemoryStorage storage;
      load_files(storage, store_.files);
      opens_strictly_ = store_.read(storage, Access::writing_strictly).is_open();
    }
    for (const auto& [name, content] : store_.files) {
      watch_on();
      flip_bits(name, content);
      cut(name, content);
      damage_sectors(name, content);
      exchange(name, content);
    }
    damage_partitions();
    watch_no_more();
    if (is_small_) census_.add_store(row_);
  }

 private:
  // What was done to which files, and to which bytes of them.
  struct Damage {
    std::string_view what;
    std::vector<FileName> files;
    std::string where;
    std::vector<FileRange> ranges = {};  // none: all of the files
    bool is_of_partition = false;
  };

  void violate(const Damage& damage, Access access, const auto&... how) {
    stage_.add_violation(row_, seed_,
                         concat(watched(), ": ", damage.what, " ", file_text(damage.files.front()),
                                damage.where, ", opened for ", text_of(access), how...));
  }

  // Returns whether the damage had any effect.
  bool judge(const Files& files, const Damage& damage) {
    stage_.add_case(row_);
    MemoryStorage storage;
    load_files(storage, files);
    bool has_effect = false;
    std::vector<Reading> readings;
    for (size_t i = 0; i < kAccesses.size(); ++i) {  // the reader first: it changes nothing
      const double begin = processor_seconds();
      const Reading& reading = readings.emplace_back(store_.read(storage, kAccesses[i]));
      if (processor_seconds() - begin > kCaseMaxSeconds)
        violate(damage, kAccesses[i], "it takes more than a second");
      judge_reading(reading, undamaged_[i], files, damage, kAccesses[i]);
      judge_losses(reading, files, damage, kAccesses[i]);
      census_.add_outcome(row_, reading);
      has_effect = has_effect || reading != undamaged_[i];
      if (kAccesses[i] == Access::writing) continue;
      judge_count(reading, undamaged_[i], damage);
      if (!reading.is_open()) judge_salvage(storage, files, damage);
      if (files_of(storage) != files) violate(damage, kAccesses[i], "a reader changed a file");
    }
    if (kind_.has_strict) judge_strict(files, damage, readings[0], readings[1]);
    return has_effect;
  }

  // Where an open for writing is told to be strict, it is the ordinary one, or it refuses what that
  // one refuses, cuts or calls damaged, and changes nothing.
  void judge_strict(const Files& files, const Damage& damage, const Reading& reader,
                    const Reading& writer) {
    MemoryStorage storage;
    load_files(storage, files);
    const Reading strict = store_.read(storage, Access::writing_strictly);
    const auto complain = [&](const auto&... how) {
      violate(damage, Access::writing_strictly, how...);
    };
    const bool is_told = !writer.is_open() || std::ranges::any_of(writer.findings, must_refuse);
    if (strict.is_open()) {
      stage_.add_note(row_, "opened strictly");
      if (is_told) complain("it opens, although an open for writing cuts or tells of damage");
      if (!is_told && strict != writer)
        complain("it is another store than an open for writing has");
      return;
    }
    stage_.add_note(row_, "refused strictly");
    if (files_of(storage) != files) complain("it refuses, and changed a file");
    if (opens_strictly_ && !names_any(strict.refusal, damage))
      complain("it does not say which file: ", strict.refusal);
    if (!is_told && reader.verified.empty()) complain("there is no reason: ", strict.refusal);
  }

  // Of what an open for writing tells. The table is made anew.
  static bool must_refuse(const Finding& finding) {
    return !finding.file.empty() && !finding.file.starts_with("table/");
  }

  void judge_salvage(MemoryStorage& storage, const Files& files, const Damage& damage) {
    if (!store_.salvage) return;
    stage_.add_note(row_, "salvaged");
    const Salvaged salvaged = store_.salvage(storage);
    const auto complain = [&](const auto&... how) {
      violate(damage, Access::reading, "salvage: ", how...);
    };
    if (!salvaged.failure.empty()) complain(salvaged.failure);
    const bool is_told = std::ranges::any_of(
        salvaged.losses, [&](const Finding& loss) { return names_any(loss.file, damage); });
    // Where both copies of a map are damaged, the commit before the last one may be all there is.
    const bool is_older = damage.files.size() > 1 && salvaged.puts == store_.older_puts && is_told;
    if (is_older) return;
    size_t at = 0;
    const auto skip_others = [&](const Put* expected) {
      while (at < salvaged.puts.size() && may_be_another(salvaged.puts[at], files, damage) &&
             (expected == nullptr || salvaged.puts[at] != *expected))
        ++at;
    };
    for (const Put& put : store_.puts) {
      const bool is_touched = touches(damage, put.places);
      if (!is_touched) skip_others(&put);
      if (at < salvaged.puts.size() && salvaged.puts[at] == put)
        ++at;
      else if (!is_touched)
        complain("the undamaged put ", to_hex(put.name), " is missing");
    }
    skip_others(nullptr);
    if (at < salvaged.puts.size()) complain("nobody put ", to_hex(salvaged.puts[at].name));
    if (at < store_.puts.size() && !is_told) complain("it does not say what it lacks");
  }

  // A put that damage touched may be back with another value, or in another place, where the
  // formats cannot tell it from the right one.
  [[nodiscard]] bool may_be_another(const Put& found, const Files& files,
                                    const Damage& damage) const {
    return std::ranges::any_of(store_.puts, [&](const Put& put) {
      return put.name == found.name && is_beyond_promise(files, damage, put.places);
    });
  }

  // Whether nothing on disk tells what the damage left there from what was put.
  [[nodiscard]] bool is_beyond_promise(const Files& files, const Damage& damage,
                                       const std::vector<FileRange>& places) const {
    if (limit_of(damage) == nullptr) return false;
    return std::ranges::any_of(places, [&](const FileRange& place) {
      const bool is_value = place.file.first == "values" && place.end != UINT64_MAX;
      return touches(damage, {place}) && (!is_value || fits(files, place));
    });
  }

  // Whether a value's checksum fits what is in its place.
  static bool fits(const Files& files, const FileRange& place) {
    const auto file = files.find(place.file);
    if (file == files.end() || place.end > file->second.size()) return false;
    const ByteSpan value = ByteSpan(file->second).subspan(place.begin, place.end - place.begin);
    const size_t payload_bytes = value.size() - journal::kChecksumSizeBytes;
    return load_big_endian<uint32_t>(value.data() + payload_bytes) ==
           crc32c(value.first(payload_bytes));
  }

  static bool touches(const Damage& damage, const std::vector<FileRange>& places) {
    return std::ranges::any_of(places, [&](const FileRange& place) {
      if (damage.ranges.empty()) return std::ranges::count(damage.files, place.file) > 0;
      return std::ranges::any_of(damage.ranges,
                                 [&](const FileRange& range) { return range.overlaps(place); });
    });
  }

  void judge_reading(const Reading& reading, const Reading& undamaged, const Files& files,
                     const Damage& damage, Access access) {
    if (!reading.is_open()) {
      if (!names_any(reading.refusal, damage))
        violate(damage, access, "it does not say which file it refuses: ", reading.refusal);
      return;
    }
    const bool is_told = has_news(reading.findings, undamaged.findings, damage);
    const bool is_verified = has_news(reading.verified, undamaged.verified, damage);
    const Limit* const limit = limit_of(damage);
    bool has_failed = false;
    bool is_unseen = false;
    for (size_t i = 0; i < reading.answers.size(); ++i) {
      const Answer& answer = reading.answers[i];
      const bool is_missing = answer.outcome == Outcome::absent && i < store_.synced_count;
      has_failed = has_failed || answer.outcome == Outcome::failed;
      if (answer.outcome == Outcome::failed && !names_any(answer.error, damage))
        violate(damage, access, "the error of item ", i, " names no such file: ", answer.error);
      judge_comparison(i, reading, damage, access);
      if ((!is_missing || is_told) && answer.outcome != Outcome::wrong) continue;
      is_unseen = true;
      if (!is_beyond_promise(files, damage, store_.places[i]))
        violate(damage, access, "item ", i,
                is_missing ? " is missing, and nobody said so" : " is another one");
    }
    if (has_failed && access == Access::reading && !is_told && !is_verified)
      violate(damage, access, "items cannot be read, and verify does not find the file");
    if (!is_unseen || limit == nullptr) return;
    stage_.add_note(row_, concat("unseen: ", limit->damage, " in ", limit->partition));
    census_.add_unseen(row_, *limit);
  }

  // Damage is told where it is, not once for each item that it concerns.
  void judge_count(const Reading& reading, const Reading& undamaged, const Damage& damage) {
    if (damage.what != kFlippedBit) return;
    const auto is_new = [&](const Finding& finding) {
      return std::ranges::find(undamaged.verified, finding) == undamaged.verified.end();
    };
    const auto count = std::ranges::count_if(reading.verified, is_new);
    if (count <= kFindingsOfABitMax) return;
    const Finding& first = *std::ranges::find_if(reading.verified, is_new);
    violate(damage, Access::reading, "verify tells ", count, " findings, the first: ", first.file,
            " ", first.text);
  }

  // A finding excuses only what the damage explains.
  void judge_losses(const Reading& reading, const Files& files, const Damage& damage,
                    Access access) {
    const auto is_absent = [](const Answer& answer) { return answer.outcome == Outcome::absent; };
    const Limit* const limit = limit_of(damage);
    if (!store_.kept || (limit != nullptr && limit->breaks_chains)) return;
    if (std::ranges::none_of(reading.answers, is_absent)) return;
    const std::vector<bool> kept = store_.kept(files);
    for (size_t i = 0; i < store_.synced_count; ++i)
      if (is_absent(reading.answers[i]) && kept[i])
        violate(damage, access, "item ", i, " is missing, although the damage left it alone");
  }

  // Where keys are made of contents, comparing them tells what nothing else does.
  void judge_comparison(size_t number, const Reading& reading, const Damage& damage,
                        Access access) {
    if (!store_.has_content_keys) return;
    const Answer& answer = reading.answers[number];
    const bool is_another = answer.outcome == Outcome::wrong;
    if (is_another && answer.differs_from_key) stage_.add_note(row_, "items told by their keys");
    if (is_another && !answer.differs_from_key)
      violate(damage, access, "item ", number, " is another one, and its key does not tell");
    if (answer.outcome == Outcome::right && answer.differs_from_key)
      violate(damage, access, "item ", number, " is right, and its key is said to be another's");
  }

  // Where the damage may leave bytes that nothing tells from the right ones; null: not here.
  [[nodiscard]] const Limit* limit_of(const Damage& damage) const {
    const auto found = std::ranges::find_if(kind_.limits, [&](const Limit& limit) {
      return limit.damage == damage.what && limit.partition == damage.files.front().first;
    });
    return found == kind_.limits.end() ? nullptr : &*found;
  }

  [[nodiscard]] bool has_manifest() const {
    return std::ranges::any_of(store_.files,
                               [](const auto& file) { return file.first.first == "manifest"; });
  }

  // Files that are read together: an index and its values, the copies of a map.
  static bool belong_together(const FileName& a, const FileName& b) {
    const auto is_section = [](const FileName& name) {
      return name.first == "index" || name.first == "values";
    };
    return a == b || (is_section(a) && is_section(b) && a.second == b.second) ||
           (a.first == b.first && !is_section(a));
  }

  [[nodiscard]] bool is_related(const FileName& file, const std::vector<FileName>& damaged) const {
    return std::ranges::any_of(damaged,
                               [&](const FileName& other) { return belong_together(file, other); });
  }

  // Whether the text names one of these files, or one that is read together with one of them.
  [[nodiscard]] bool names_any(std::string_view text, const Damage& damage) const {
    const auto has = [&](std::string_view name) { return text.find(name) != text.npos; };
    if (damage.is_of_partition && has(damage.files.front().first)) return true;
    return std::ranges::any_of(store_.files, [&](const auto& file) {
      return is_related(file.first, damage.files) && has(file.first.first) &&
             has(to_hex(file.first.second));
    });
  }

  [[nodiscard]] bool has_news(const std::vector<Finding>& findings,
                              const std::vector<Finding>& before, const Damage& damage) const {
    return std::ranges::any_of(findings, [&](const Finding& finding) {
      if (std::ranges::find(before, finding) != before.end()) return false;
      return names_any(finding.file.empty() ? finding.text : finding.file, damage);
    });
  }

  // The store with one file replaced.
  bool judge_with(const FileName& name, Bytes content, std::string_view damage,
                  std::vector<FileRange> ranges, const auto&... where) {
    Bytes& place = files_of_case()[name];
    std::swap(place, content);
    const bool has_effect = judge(*changed_, {damage, {name}, concat(where...), std::move(ranges)});
    std::swap(place, content);
    return has_effect;
  }

  Files& files_of_case() {
    if (!changed_) changed_ = store_.files;
    return *changed_;
  }

  // Calls with each number below `count`, or, if only a sample is tried, with `sampled` of them.
  void for_each_below(uint64_t count, uint64_t sampled, bool is_tried_whole, const auto& call) {
    const bool is_sample = !is_tried_whole && count > sampled;
    for (uint64_t i = 0; i < (is_sample ? sampled : count); ++i)
      call(is_sample ? random_.below(count) : i);
  }

  [[nodiscard]] bool tries_all_bytes() const { return is_small_ && !kind_.is_about_sectors; }

  void flip_bits(const FileName& name, const Bytes& content) {
    for_each_below(content.size() * 8, kSampledBits, tries_all_bytes(), [&](uint64_t number) {
      const uint64_t offset = number / 8;
      const uint64_t bit = number % 8;
      Bytes flipped = content;
      flipped[offset] ^= std::byte(1u << bit);
      stage_.add_note(row_, "flips");
      if (judge_with(name, std::move(flipped), kFlippedBit, {{name, offset, offset + 1}}, " ", bit,
                     " at ", offset))
        return;
      if (const auto row = unused_->row_of(name, offset)) {
        census_.add_unused(row_, *row);
        return;
      }
      stage_.add_violation(row_, seed_,
                           concat(watched(), ": flipped bit ", bit, " of ", file_text(name), " at ",
                                  offset, " has no effect, and is not on the list"));
    });
  }

  void cut(const FileName& name, const Bytes& content) {
    for_each_below(content.size(), kSampledLengths, tries_all_bytes(), [&](uint64_t size) {
      judge_with(name, Bytes(content.begin(), content.begin() + static_cast<ptrdiff_t>(size)),
                 "cut", {{name, size}}, " to ", size);
    });
  }

  static MutableByteSpan sector(Bytes& bytes, size_t begin) {
    return MutableByteSpan(bytes).subspan(begin, std::min(kSectorBytes, bytes.size() - begin));
  }

  void damage_sectors(const FileName& name, const Bytes& content) {
    for (size_t begin = 0; begin < content.size(); begin += kSectorBytes) {
      const std::vector<FileRange> ranges = {{name, begin, begin + kSectorBytes}};
      Bytes zeroed = content;
      std::ranges::fill(sector(zeroed, begin), std::byte{0});
      judge_with(name, std::move(zeroed), "zeroed sector", ranges, " at ", begin);
      for (const Files& earlier : store_.earlier) {
        const auto found = earlier.find(name);
        if (found == earlier.end() || found->second.size() <= begin) continue;
        Bytes stale = content;
        Bytes old = found->second;
        const size_t size = std::min(sector(stale, begin).size(), sector(old, begin).size());
        copy_bytes(sector(stale, begin), sector(old, begin).first(size));
        // A whole file that went back in time is a valid one: nothing in it can tell.
        if (stale != content && stale != found->second)
          judge_with(name, std::move(stale), "earlier content of the sector", ranges, " at ",
                     begin);
      }
    }
    const uint64_t whole = content.size() / kSectorBytes;
    for_each_below(whole * whole, kSampledPairs, is_small_, [&](uint64_t number) {
      mix_sectors(name, content, number / whole * kSectorBytes, number % whole * kSectorBytes);
    });
  }

  void mix_sectors(const FileName& name, const Bytes& content, size_t begin, size_t other) {
    if (other == begin) return;
    const FileRange there = {name, other, other + kSectorBytes};
    Bytes duplicated = content;
    copy_bytes(sector(duplicated, other), ByteSpan(content).subspan(begin, kSectorBytes));
    Bytes swapped = duplicated;
    copy_bytes(sector(swapped, begin), ByteSpan(content).subspan(other, kSectorBytes));
    const bool keeps_pages = moves_whole_pages(name, begin, other);
    judge_with(name, std::move(duplicated), keeps_pages ? "sector of pages" : "sector", {there},
               " at ", begin, " also at ", other);
    if (other > begin)
      judge_with(name, std::move(swapped),
                 keeps_pages ? "sectors of pages swapped" : "sectors swapped",
                 {there, {name, begin, begin + kSectorBytes}}, " at ", begin, " and ", other);
  }

  // Whether a page that lies in the sector is a page in the other place, too.
  [[nodiscard]] bool moves_whole_pages(const FileName& name, size_t begin, size_t other) const {
    const size_t physical = store_.page_size_bytes + kPageRecordSize;
    return name.first == "index" &&
           std::max(begin, other) % physical == std::min(begin, other) % physical;
  }

  void exchange(const FileName& name, const Bytes& content) {
    Files without = store_.files;
    without.erase(name);
    judge(without, {"removed", {name}, ""});
    judge_with(name, Bytes(), "emptied", {});
    for (const auto& [sibling, other] : store_.files) {
      if (sibling.first != name.first || sibling <= name) continue;
      Files exchanged = store_.files;
      exchanged[name] = other;
      exchanged[sibling] = content;
      judge(exchanged, {"exchanged", {name, sibling}, concat(" and ", file_text(sibling))});
    }
  }

  // What a single file cannot cost is lost with all of its partition, or with both copies.
  void damage_partitions() {
    std::map<std::string, std::vector<FileName>> partitions;
    for (const auto& [name, content] : store_.files)
      partitions[name.first].push_back(name);
    for (const auto& [partition, names] : partitions) {
      Files without = store_.files;
      Files emptied = store_.files;
      for (const FileName& name : names) {
        without.erase(name);
        emptied[name].clear();
      }
      const auto judge_all = [&](const Files& files, std::string_view what) {
        judge(
            files,
            {.what = what, .files = names, .where = " and all beside it", .is_of_partition = true});
      };
      judge_all(without, "removed");
      judge_all(emptied, "emptied");
      flip_in_both_copies(partition);
    }
  }

  void flip_in_both_copies(const std::string& partition) {
    for (uint64_t i = 0; i < kBitsInBothCopies; ++i) {
      Files flipped = store_.files;
      Damage damage{.what = "flipped a bit of both copies,", .files = {}, .where = ""};
      for (const std::string_view side : {"left", "right"}) {
        const FileName name(partition, to_bytes(as_bytes(side)));
        const auto found = flipped.find(name);
        if (found == flipped.end() || found->second.empty()) return;
        const uint64_t bit = random_.below(found->second.size() * 8);
        found->second[bit / 8] ^= std::byte(1u << (bit % 8));
        damage.files.push_back(name);
        damage.ranges.push_back({name, bit / 8, bit / 8 + 1});
        damage.where += concat(" ", bit % 8, " at ", bit / 8);
      }
      judge(flipped, damage);
    }
  }

  Stage& stage_;
  Census& census_;
  const std::string row_;
  const SweptKind& kind_;
  const uint64_t seed_;
  const bool is_small_;
  Random random_;
  SweptStore store_;
  std::optional<UnusedMap> unused_;
  std::vector<Reading> undamaged_;  // as kAccesses
  bool opens_strictly_ = false;     // what a kill left may have to be cut
  std::optional<Files> changed_;    // equal to the store's files between cases
};

Status run_all(Stage& stage) {
  install_watchdog();
  // An open's large buffers come from the heap, not from the kernel anew: a third of the time.
  ::mallopt(M_MMAP_THRESHOLD, 32 << 20);
  ::mallopt(M_TRIM_THRESHOLD, 256 << 20);
  Census census;
  stage.run_in_turns(swept_kinds(), [&](const SweptKind& kind, uint64_t seed) {
    // One seed alone has both, each of half of the structures.
    const auto number = static_cast<uint64_t>(&kind - swept_kinds().data());
    const Ending ending = (seed + number) % 2 == 0 ? Ending::killed : Ending::closed;
    const Scale scale = seed % kSeedsForALargeOne == 0 ? Scale::large : Scale::small;
    Sweep(stage, census, kind, seed, ending, scale).run();
    stage.add_note(std::string(kind.name),
                   ending == Ending::closed ? "stores closed" : "stores killed");
    if (scale == Scale::large) stage.add_note(std::string(kind.name), "of them large");
  });
  census.report(stage);
  return {};
}

}  // namespace
}  // namespace firn::campaign

int main(int argc, char** argv) {
  using namespace firn::campaign;
  return stage_main(argc, argv, {"sweep", names_of(swept_kinds()), StageNeeds::nothing}, run_all);
}
