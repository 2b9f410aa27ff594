// SPDX-License-Identifier: Apache-2.0
//
// DiskTable: the table blob of a freezer, and the original's way of growing it.
//
//   position p of 58 bytes at 58 p: two slots, written in turn; the newer one is the head
//   length: 58 * size, twice that while the table doubles
//
// A slot is replaced only by one of a later sync, or of the same one, so that what the last sync
// committed is still there after a crash in the next one: discard() goes back to it. Whatever else
// is wrong with the table, it is written anew from the key journal.
//
// Doubling. It begins when half of the positions got `frequency` records, and goes on by `chunk`
// positions a step: both slots of a position go to both halves, the head marked as split. Until
// it ends the table keeps its size; puts into a part that was copied go to both halves.
//
// Settling. Then both halves of a position have the same head, although its record belongs to one
// of them. settle() goes through the halves: where the head belongs elsewhere, the first record of
// the chain that belongs there takes its place. It is a write like that of a put: a crash before
// the sync's commit goes back to the longer chain, which has the same records and more. It waits
// until the table has doubled: before that, both halves are still one for whoever opens it after a
// crash. Puts between settling and the commit lead to heads that a crash takes back: then the table
// is made anew.
//
// Threads. One writer. Reads run beside it: one that met a write half-way repeats it after the
// write, one whose key moved because the table has doubled looks there; neither waits for more.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "firn/base/bytes.h"
#include "firn/base/mutex.h"
#include "firn/base/result.h"
#include "firn/freezer/format.h"
#include "firn/io/storage.h"

namespace firn::freezer {

struct DiskTableOptions {
  std::string partition;
  uint32_t frequency = 1;             // records that make a position due
  uint32_t chunk = 1;                 // positions a step
  uint32_t size_max = kTableSizeMax;  // a power of two, or 0: none fits the storage
};

class DiskTable {
 public:
  [[nodiscard]] static Bytes blob_name();
  // Errc::not_found in the modes that need the blob to exist; corrupt if it has no valid header.
  [[nodiscard]] static Result<std::unique_ptr<DiskTable>> open(Storage& storage,
                                                               const DiskTableOptions& options,
                                                               OpenMode mode);

  // Positions that the blob has room for.
  [[nodiscard]] uint64_t length_positions() const { return blob_->size() / kPairSizeBytes; }
  // How the blob's length differs from that of `size` positions; empty: it does not. A blob of
  // twice that length began to double.
  [[nodiscard]] std::string length_misfit(uint64_t size) const;
  // The same of a blob that is not there.
  [[nodiscard]] static std::string missing(std::string_view partition);
  // Cuts or extends the blob to exactly so many positions, and uses it from now on.
  [[nodiscard]] Status start(uint32_t size, uint64_t resizable, uint64_t heads_sum,
                             uint64_t settled);
  // The same with every position empty: a blob without content, until write_anew() gives it some.
  [[nodiscard]] Status start_blank(uint32_t size);
  // The same as start() without touching the blob.
  [[nodiscard]] Status start_reading(uint32_t size);

  [[nodiscard]] uint32_t size() const { return size_.load(std::memory_order_acquire); }
  [[nodiscard]] uint32_t position_of(uint32_t hash) const { return hash & (size() - 1); }
  // Errc::corrupt for a damaged pair.
  [[nodiscard]] Result<Pair> read(uint64_t position) const;
  // The pair of a key. Beside a writer: if the table has doubled since the position was computed,
  // what was read there may already leave out the key's records.
  [[nodiscard]] Result<Pair> find(uint32_t hash) const;

  // Makes `head` the head of a position whose slots are `pair`.
  [[nodiscard]] Status put(uint32_t position, const Pair& pair, uint64_t epoch, RecordPlace head);
  // no_space if the table must double but is as large as it may be.
  [[nodiscard]] Status check_room() const;

  // What a sync does besides the flush: begins to double if it is time, and goes on by a step.
  [[nodiscard]] Status step(uint64_t epoch);
  // Syncs are so rare that the table would stay too small: since the last step there were as many
  // puts as an eighth of a step's positions, and there is something to do.
  [[nodiscard]] bool wants_step() const {
    return puts_since_step_ >= std::max(options_.chunk / 8, kPutsPerStepMin) &&
           (progress_ || is_due() || !is_settled());
  }
  // Or doubles, which begins the next settling.
  [[nodiscard]] bool is_settled() const { return progress_ || settled_ >= size() / 2; }
  // Positions of each half to settle with the next step: eight for a put, so that a doubling is
  // settled after an eighth of the puts that fill the table's new half.
  [[nodiscard]] uint64_t settled_by_step() const {
    return std::min<uint64_t>(puts_since_step_ * kSettledPerPut, options_.chunk);
  }
  [[nodiscard]] Status finish_doubling(uint64_t epoch);
  // Settles the next positions unless the table doubles: at most `count` of each half.
  using FirstThere = std::function<RecordPlace(uint32_t position, RecordPlace head)>;
  [[nodiscard]] Status settle(uint64_t epoch, uint64_t count, const FirstThere& first_there);
  [[nodiscard]] Status flush() { return blob_->sync(); }

  // What is in the slots of the first `size` positions.
  struct Survey {
    std::string damage;  // the first damaged pair or impossible head; empty: none
    uint64_t newest_epoch = 0;
    uint64_t newer_slots = 0;    // with an epoch above `epoch`
    uint64_t foreign_slots = 0;  // not newer, but naming a record at or behind `end`
    uint64_t resizable = 0;      // without the newer slots
    uint64_t heads_sum = 0;      // without the newer slots
  };
  [[nodiscard]] Result<Survey> survey(uint64_t size, uint64_t epoch, RecordPlace end) const;
  // Empties every slot with an epoch above `epoch`. Not flushed.
  [[nodiscard]] Status discard(uint32_t size, uint64_t epoch);

  // Writes [begin, end): one slot with the head that the callback gives, and an empty one. Of a
  // blank table, only where there are heads. The sum takes them for the first there: see
  // forget_heads().
  using HeadOf = std::function<std::optional<RecordPlace>(uint32_t position)>;
  [[nodiscard]] Status write_anew(uint64_t begin, uint64_t end, uint64_t epoch,
                                  const HeadOf& head_of);
  // Takes what is in [begin, end) out of the sum. Damage stays in it: the sum is then no longer
  // right.
  [[nodiscard]] Status forget_heads(uint64_t begin, uint64_t end);

  [[nodiscard]] bool is_doubling() const { return is_doubling_; }
  [[nodiscard]] uint64_t resizable() const { return resizable_; }
  // So many positions from the first on are settled, and so many from the middle on.
  [[nodiscard]] uint64_t settled() const { return settled_; }
  // See head_summand(). Of all positions, if it was right when the table was started.
  [[nodiscard]] uint64_t heads_sum() const { return heads_sum_; }
  [[nodiscard]] uint64_t doublings() const { return doublings_; }
  [[nodiscard]] uint64_t unnecessary_writes() const { return unnecessary_writes_; }

 private:
  static constexpr uint32_t kPutsPerStepMin = 16;
  static constexpr uint64_t kSettledPerPut = 8;

  DiskTable(std::unique_ptr<Blob> blob, const DiskTableOptions& options)
      : options_(options), blob_(std::move(blob)) {}

  // How much the sum grows if `head` follows `before`, or nothing.
  [[nodiscard]] static uint64_t grown(uint64_t position, const Slot* before, RecordPlace head);
  [[nodiscard]] bool is_due() const { return resizable_ >= size() / 2; }
  [[nodiscard]] Status begin_doubling();
  [[nodiscard]] Status advance(uint64_t epoch);
  [[nodiscard]] Status settle_range(uint64_t begin, uint64_t count, uint64_t epoch,
                                    const FirstThere& first_there);
  [[nodiscard]] Result<Pair> read_once(uint64_t position) const;
  [[nodiscard]] Status write(uint64_t offset, ByteSpan bytes) EXCLUDES(changing_);
  [[nodiscard]] Status write_where_heads_are(uint64_t begin, ByteSpan bytes);
  [[nodiscard]] std::unexpected<Error> damaged(uint64_t position) const;
  // Calls back for [begin, end) in large reads.
  using PairVisitor = std::function<Status(uint64_t position, ByteSpan pair)>;
  [[nodiscard]] Status for_each_pair(uint64_t begin, uint64_t end, const PairVisitor& visit) const;

  const DiskTableOptions options_;
  const std::unique_ptr<Blob> blob_;
  mutable Mutex changing_;  // held while slots are being written
  std::atomic<uint32_t> size_ = 1;

  // The writer's; others read them for statistics.
  std::atomic<uint64_t> resizable_ = 0;
  std::atomic<uint64_t> doublings_ = 0;
  std::atomic<uint64_t> unnecessary_writes_ = 0;
  std::atomic<bool> is_doubling_ = false;
  std::optional<uint64_t> progress_;  // positions below it were copied
  uint64_t settled_ = 0;              // half the size: all
  uint64_t puts_since_step_ = 0;
  uint64_t heads_sum_ = 0;   // of [0, size)
  uint64_t copied_sum_ = 0;  // of the positions behind, while it doubles
  bool is_blank_ = false;    // since start_blank()
};

}  // namespace firn::freezer
