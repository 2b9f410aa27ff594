// SPDX-License-Identifier: Apache-2.0
//
// Freezer: how a reader keeps up with the writer of another process. Its table is in memory and
// made from the key journal alone: the one on disk may be half written at any time.
#include "firn/base/text.h"
#include "firn/freezer/damage_advice.h"
#include "firn/freezer/freezer.h"
#include "firn/freezer/resident_table.h"

namespace firn {

Result<uint64_t> Freezer::refresh() {
  MutexLock lock(writer_);
  if (closed_) return fail(Errc::invalid_argument, "the freezer is closed");
  TRY(store_->refresh());
  // Otherwise no writer can be there.
  if (store_->manifest() == nullptr || !in_memory_) return 0;
  if (!damaged_.empty())
    return fail(Errc::corrupt, concat("section ", damaged_.front(),
                                      " was damaged when the freezer was opened: open it anew"));
  TRY(log_->follow());
  const uint64_t before = items_;
  // The newest section may be one without records that are synced, behind one that gets more.
  Place next;
  {
    ReaderLock state(state_);
    next = resident_->end();
  }
  TRY_INTO(FixedReplay replay, log_->replay(next.section, next.position));
  while (true) {
    TRY_INTO(const auto item, freezer::advise(replay.next()));
    if (!item) return items_ - before;
    TRY(absorb({item->section, item->position}, item->record));
  }
}

// Like a put that is written already.
Status Freezer::absorb(Place place, ByteSpan record) {
  const ByteSpan key = freezer::key_of(record);
  freezer::ResidentTable::KeyHashes hashes{};
  bool is_shared = false;
  {
    WriterLock state(state_);
    if (resident_->count() >= freezer::ResidentTable::kRecordsMax ||
        resident_->memory_bytes_next() > memory_budget_bytes_) {
      return fail(
          Errc::invalid_argument,
          concat("the freezer outgrew the memory of this reader: open it anew with more than ",
                 memory_budget_bytes_, " bytes"));
    }
    hashes = resident_->hash(key);
    is_shared = resident_->add(place, hashes, IndexedValueLog::location_of(record).offset);
  }
  items_.fetch_add(1, std::memory_order_relaxed);
  if (is_shared) forget_older(key, hashes.fingerprint, place);
  return {};
}

}  // namespace firn
