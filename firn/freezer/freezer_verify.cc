// SPDX-License-Identifier: Apache-2.0
//
// Freezer: looking at what is on disk: iteration, chains, verification.
#include <algorithm>
#include <functional>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "firn/base/text.h"
#include "firn/freezer/damage_advice.h"
#include "firn/freezer/disk_table.h"
#include "firn/freezer/freezer.h"
#include "firn/freezer/resident_table.h"
#include "firn/journal/section_name.h"

namespace firn {

using freezer::DiskTable;
using freezer::ResidentTable;

namespace {

constexpr uint64_t kSampledPositions = 4096;
// Positions whose records are counted in one pass over the key journal: 4 MiB of memory.
constexpr uint64_t kWindowPositions = 1 << 20;

}  // namespace

Status Freezer::visit(const Visitor& visitor) const {
  TRY_INTO(FixedReplay replay, log_->replay());
  Status damage;  // the first one
  while (true) {
    auto read = freezer::advise(replay.next());
    if (!read && read.error().code != Errc::corrupt) return pass_on(read);
    if (!read) {
      if (damage) damage = pass_on(read);
      replay.skip_damaged_page();
      continue;
    }
    const auto& item = *read;
    if (!item) return damage;
    if (!visitor({to_bytes(freezer::key_of(item->record)), item->section, item->position,
                  IndexedValueLog::location_of(item->record)}))
      return {};
  }
}

uint32_t Freezer::table_size() const {
  ReaderLock lock(state_);
  return resident_ ? resident_->size() : table_->size();
}

Result<std::optional<Freezer::Place>> Freezer::head_of_position(uint32_t position) const {
  {
    ReaderLock lock(state_);
    if (resident_) {
      if (position < resident_->size()) return resident_->head_of_position(position);
      return std::optional<Place>();
    }
  }
  TRY_INTO(const freezer::Pair pair, disk_table()->read(position));
  const freezer::Slot* const head = pair.head();
  if (head == nullptr) return std::optional<Place>();
  return std::optional(head->head);
}

Status Freezer::walk_chain(std::optional<Place> head,
                           const std::function<void(ByteSpan record)>& visit) const {
  RecordBuffer buffer;
  const MutableByteSpan record = record_in(buffer);
  while (head) {
    TRY(read_record(*head, record));
    visit(record);
    const auto next = freezer::next_of(record);
    if (next && *next >= *head) return freezer::leads_forward(*log_, *head, *next);
    head = next;
  }
  return {};
}

Result<FreezerChains> Freezer::chains() const {
  FreezerChains chains;
  const uint32_t size = table_size();
  const uint32_t step = static_cast<uint32_t>(std::max<uint64_t>(size / kSampledPositions, 1));
  uint64_t records = 0;
  uint64_t members = 0;
  uint64_t reads = 0;
  for (uint64_t position = 0; position < size; position += step) {
    TRY_INTO(const auto head, head_of_position(static_cast<uint32_t>(position)));
    uint64_t length = 0;
    std::set<std::string, std::less<>> keys;  // an older record of a key is no hit
    TRY(walk_chain(head, [&](ByteSpan record) {
      ++length;
      const std::string_view key = as_text(freezer::key_of(record));
      if ((crc32c(as_bytes(key)) & (size - 1)) != position || !keys.emplace(key).second) return;
      ++members;
      reads += length;
    }));
    ++chains.positions;
    records += length;
    chains.longest = std::max(chains.longest, length);
    if (chains.of_length.size() <= length) chains.of_length.resize(length + 1);
    ++chains.of_length[length];
  }
  chains.empty = chains.of_length.front();
  chains.records_per_miss = static_cast<double>(records) / static_cast<double>(chains.positions);
  if (members > 0)
    chains.records_per_hit = static_cast<double>(reads) / static_cast<double>(members);
  return chains;
}

// What verify does besides looking at the journals. Puts wait until it is done.
class Freezer::Verification {
 public:
  // The journals were verified: what `findings` says of the keys is known.
  Verification(const Freezer& freezer, RecoveryLog& findings)
      : freezer_(freezer),
        findings_(findings),
        keys_are_damaged_(
            std::ranges::any_of(findings.report().damage, [&](const BlobRange& range) {
              return range.partition == freezer.log_->index_partition();
            })) {}

  // Heads, and what must be in their chains: every record before `end` in that of its position.
  struct Heads {
    uint32_t size = 0;
    std::function<Located(uint32_t position)> head_of;
    std::optional<uint64_t> sum = std::nullopt;  // of the heads, if it is known
    Place end = {Section(UINT64_MAX), Position(UINT64_MAX)};
    const ResidentTable* verified = nullptr;  // where it has the same head, that will do
  };
  [[nodiscard]] Status check(const Heads& heads);
  // The table on disk, while the heads are in memory.
  [[nodiscard]] Status check_beside_memory(const freezer::TableRecord& recorded);
  // What is wrong with the blob as a whole, if anything is.
  void note_length(const std::string& misfit) {
    if (misfit.empty()) return;
    note_table(0, 0, concat(misfit, "; nothing is lost, run `firn freezer rebuild STORE`"));
  }

 private:
  [[nodiscard]] Result<std::vector<uint32_t>> count_records(const Heads& heads, uint64_t begin,
                                                            uint64_t end) const;
  [[nodiscard]] Status check_chain(const Heads& heads, uint64_t position, uint64_t expected,
                                   uint64_t& sum);
  void note_table(uint64_t offset, uint64_t size_bytes, std::string reason) {
    findings_.note_damage({freezer_.table_partition_, to_hex(DiskTable::blob_name()), offset,
                           size_bytes, std::move(reason)});
  }

  // A record that leads where none can be: no fault of the table. Several chains may come there.
  void note_key(Section section, const std::string& reason) {
    if (told_.insert(reason).second)
      findings_.note_damage(
          {freezer_.log_->index_partition(), journal::section_hex(section), 0, 0, reason});
  }

  const Freezer& freezer_;
  RecoveryLog& findings_;
  // Then a chain that cannot be walked to its end is no fault of the table.
  const bool keys_are_damaged_;
  uint64_t broken_chains_ = 0;
  std::set<std::string> told_;  // of keys
};

Status Freezer::verify(FreezerDepth depth, RecoveryLog& findings,
                       const std::function<void(uint64_t)>& progress) const {
  MutexLock lock(writer_);
  TRY(log_->verify(depth == FreezerDepth::values, findings, progress));
  Verification verification(*this, findings);
  Verification::Heads heads = {.size = table_size(), .head_of = [this](uint32_t position) {
                                 return head_of_position(position);
                               }};
  const DiskTable* const table = in_memory_ ? nullptr : disk_table();
  if (table != nullptr && !table->is_doubling())
    verification.note_length(table->length_misfit(heads.size));
  if (table != nullptr) heads.sum = store_->read_only() ? recorded_->heads_sum : table->heads_sum();
  TRY(verification.check(heads));
  if (in_memory_ && recorded_) {
    std::unique_ptr<StorageLock> alone;
    if (store_->read_only()) {
      TRY_INTO(alone, store_->keep_writers_out());
    }
    // A writer replaces slots; of a state that is not that of the open, nothing is known.
    if (!store_->read_only() || alone) TRY(verification.check_beside_memory(*recorded_));
  }
  progress(table_size() * uint64_t{freezer::kPairSizeBytes});
  return {};
}

// While the heads are in memory, the table on disk has those of the state that the manifest names;
// of a stale one, or one that a killed writer left, nothing is expected.
Status Freezer::Verification::check_beside_memory(const freezer::TableRecord& recorded) {
  if (recorded.state != freezer::TableState::whole) return {};
  const FreezerCheckpoint& checkpoint = recorded.checkpoint;
  auto table = DiskTable::open(freezer_.store_->storage(), {.partition = freezer_.table_partition_},
                               OpenMode::read_only);
  if (!table) {
    if (table.error().code != Errc::not_found && table.error().code != Errc::corrupt)
      return pass_on(table);
    const bool is_missing = table.error().code == Errc::not_found;
    note_length(is_missing ? DiskTable::missing(freezer_.table_partition_) : table.error().message);
    return {};
  }
  note_length((*table)->length_misfit(checkpoint.table_size));
  if ((*table)->length_positions() < checkpoint.table_size) return {};
  Heads heads = {.size = checkpoint.table_size,
                 .head_of = [&](uint32_t position) -> Located {
                   TRY_INTO(const freezer::Pair pair, (*table)->read(position));
                   if (pair.head() == nullptr) return std::optional<Place>();
                   return std::optional(pair.head()->head);
                 },
                 .sum = recorded.heads_sum,
                 .end = freezer_.end_of(checkpoint)};
  {
    ReaderLock lock(freezer_.state_);
    const ResidentTable* const resident = freezer_.resident_.get();  // only puts change it
    if (resident->size() == heads.size) heads.verified = resident;
  }
  return check(heads);
}

Status Freezer::Verification::check(const Heads& heads) {
  const size_t found_before = findings_.report().damage.size();
  uint64_t sum = 0;
  uint64_t filled = 0;
  for (uint64_t begin = 0; begin < heads.size; begin += kWindowPositions) {
    const uint64_t end = std::min<uint64_t>(heads.size, begin + kWindowPositions);
    TRY_INTO(const auto counts, count_records(heads, begin, end));
    for (uint64_t position = begin; position < end; ++position) {
      if (counts[position - begin] > 0) ++filled;
      TRY(check_chain(heads, position, counts[position - begin], sum));
    }
  }
  if (const uint64_t broken = std::exchange(broken_chains_, 0); broken > 0)
    findings_.note(concat("of ", broken, " positions the chains lead to damaged keys; the table ",
                          "itself is no worse for it"));
  const size_t wrong = findings_.report().damage.size() - found_before;
  if (wrong > 1 && wrong > filled / 2) {
    findings_.note(
        "most positions of the table are wrong: it may be that of another store, or the key "
        "journal may. `firn freezer rebuild` goes by the key journal: be sure first that it is the "
        "right one");
  }
  if (!heads.sum || *heads.sum == sum || wrong > 0) return {};
  note_table(0, heads.size * uint64_t{freezer::kPairSizeBytes},
             "its heads are not those that were written: nothing is lost, run `firn freezer "
             "rebuild`");
  return {};
}

// Of each position in [begin, end).
Result<std::vector<uint32_t>> Freezer::Verification::count_records(const Heads& heads,
                                                                   uint64_t begin,
                                                                   uint64_t end) const {
  std::vector<uint32_t> counts(end - begin);
  TRY_INTO(FixedReplay replay, freezer_.log_->replay());
  while (true) {
    auto item = replay.next();
    if (!item && item.error().code != Errc::corrupt) return pass_on(item);
    if (!item) {
      replay.skip_damaged_page();  // its page is already noted
      continue;
    }
    if (!item->has_value()) return counts;
    const auto& [section, index, record] = **item;
    if (Place{section, index} >= heads.end) return counts;
    const uint32_t position = crc32c(freezer::key_of(record)) & (heads.size - 1);
    if (position >= begin && position < end) ++counts[position - begin];
  }
}

// Adds the position's head to the sum. Every record must be in the chain of its position.
Status Freezer::Verification::check_chain(const Heads& heads, uint64_t position, uint64_t expected,
                                          uint64_t& sum) {
  uint64_t members = 0;
  uint64_t visited = 0;
  Status walked;
  const auto head = heads.head_of(static_cast<uint32_t>(position));
  if (head) {
    if (*head) sum += freezer::head_summand(position, **head);
    if (heads.verified != nullptr &&
        heads.verified->head_of_position(static_cast<uint32_t>(position)) == *head)
      return {};
    walked = freezer_.walk_chain(*head, [&](ByteSpan record) {
      ++visited;
      if ((crc32c(freezer::key_of(record)) & (heads.size - 1)) == position) ++members;
    });
  }
  const Error* const error = !head ? &head.error() : !walked ? &walked.error() : nullptr;
  if (error != nullptr && error->code != Errc::corrupt) return fail(error->code, error->message);
  if (!walked && keys_are_damaged_) {
    ++broken_chains_;
    return {};
  }
  if (!walked && visited > 0) {
    note_key((*head)->section, error->message);
    return {};
  }
  std::string reason;
  if (error != nullptr) {
    reason = error->message;
  } else if (*head && **head >= heads.end) {
    reason = concat("it leads to record ", (*head)->position, " of section ", (*head)->section,
                    ", which was put after it was written");
  } else if (members < expected) {
    reason = concat("its chain has ", members, " of ", expected, " records");
  }
  if (!reason.empty())
    note_table(position * freezer::kPairSizeBytes, freezer::kPairSizeBytes,
               concat("position ", position, ": ", reason));
  return {};
}

}  // namespace firn
