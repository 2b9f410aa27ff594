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
#include "firn/freezer/disk_table.h"
#include "firn/freezer/freezer.h"
#include "firn/freezer/resident_table.h"

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
  while (true) {
    TRY_INTO(const auto item, replay.next());
    if (!item) return {};
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
    if (next && *next >= *head)
      return fail(Errc::corrupt, concat("record ", head->position, " of key section ",
                                        head->section, " leads forward"));
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

Status Freezer::verify(FreezerDepth depth, RecoveryLog& findings,
                       const std::function<void(uint64_t)>& progress) const {
  MutexLock lock(writer_);
  TRY(log_->verify(depth == FreezerDepth::values, findings, progress));
  TRY(verify_slots(findings));
  const uint64_t size = table_size();
  for (uint64_t begin = 0; begin < size; begin += kWindowPositions)
    TRY(verify_chains(begin, std::min(size, begin + kWindowPositions), findings));
  progress(size * freezer::kPairSizeBytes);
  return {};
}

void Freezer::note_position(uint64_t position, std::string_view reason,
                            RecoveryLog& findings) const {
  findings.note_damage({table_partition_, to_hex(DiskTable::blob_name()),
                        position * freezer::kPairSizeBytes, freezer::kPairSizeBytes,
                        concat("position ", position, ": ", reason)});
}

// While the table is in memory, the one on disk leads to the records of those positions that did
// not change since; of a stale one nothing is expected.
Status Freezer::verify_slots(RecoveryLog& findings) const {
  if (!in_memory_ || !recorded_ || recorded_->state != freezer::TableState::whole) return {};
  const auto table =
      DiskTable::open(store_->storage(), {.partition = table_partition_}, OpenMode::read_only);
  if (!table && table.error().code != Errc::not_found)
    return fail(table.error().code, table.error().message);
  const uint32_t size = recorded_->checkpoint.table_size;
  if (!table || (*table)->length_positions() < size) {
    findings.note_damage({table_partition_, to_hex(DiskTable::blob_name()), 0, 0,
                          "the table is missing or cut: it is made anew at close"});
    return {};
  }
  ReaderLock lock(state_);
  if (size != resident_->size()) return {};
  for (uint32_t position = 0; position < resident_->size(); ++position) {
    if (resident_->is_dirty(position / ResidentTable::kGroupPositions)) continue;
    const auto pair = (*table)->read(position);
    if (!pair && pair.error().code != Errc::corrupt)
      return fail(pair.error().code, pair.error().message);
    if (!pair) {
      note_position(position, pair.error().message, findings);
      continue;
    }
    const freezer::Slot* const head = pair->head();
    const auto expected = resident_->head_of_position(position);
    // A head may be a newer record of the position's other half, which leads to this one.
    if (expected && (head == nullptr || head->head < *expected))
      note_position(position, "it does not lead to its newest record", findings);
  }
  return {};
}

// Every record must be in the chain of its position.
Status Freezer::verify_chains(uint64_t begin, uint64_t end, RecoveryLog& findings) const {
  const uint32_t mask = table_size() - 1;
  std::vector<uint32_t> counts(end - begin);
  TRY_INTO(FixedReplay replay, log_->replay());
  while (true) {
    const auto item = replay.next();
    if (!item && item.error().code != Errc::corrupt)
      return fail(item.error().code, item.error().message);
    if (!item) {
      replay.skip_damaged_page();  // its page is already noted
      continue;
    }
    if (!item->has_value()) break;
    const uint32_t position = crc32c(freezer::key_of((*item)->record)) & mask;
    if (position >= begin && position < end) ++counts[position - begin];
  }
  for (uint64_t position = begin; position < end; ++position) {
    uint64_t members = 0;
    Status walked;
    const auto head = head_of_position(static_cast<uint32_t>(position));
    if (head) {
      walked = walk_chain(*head, [&](ByteSpan record) {
        if ((crc32c(freezer::key_of(record)) & mask) == position) ++members;
      });
    }
    const Error* const error = !head ? &head.error() : !walked ? &walked.error() : nullptr;
    if (error != nullptr && error->code != Errc::corrupt) return fail(error->code, error->message);
    if (error != nullptr)
      note_position(position, error->message, findings);
    else if (members < counts[position - begin])
      note_position(position,
                    concat("its chain has ", members, " of ", counts[position - begin], " records"),
                    findings);
  }
  return {};
}

}  // namespace firn
