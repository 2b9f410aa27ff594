// SPDX-License-Identifier: Apache-2.0
//
// RecoveryReport: what opening a store found, cut and kept. Nothing is cut silently, and what is
// cut is first saved to the partition "lost-found", so that a wrong decision can be undone by hand.
// Not saved are zeros, what lies more than 64 MiB behind the beginning of a cut, and values that a
// writer which was stopped wrote ahead of their records: nobody acknowledged those.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "firn/base/bytes.h"
#include "firn/base/result.h"
#include "firn/io/storage.h"

namespace firn {

// A range of one blob; offsets are those of Blob, without the header of the file. Of a blob with
// pages they count the records of the pages, too.
struct BlobRange {
  std::string partition;
  std::string blob;  // hexadecimal name, as on disk
  uint64_t offset = 0;
  uint64_t size_bytes = 0;
  std::string reason;
  // It is one of two copies of the same. Maybe unfinished: a commit that was cut off leaves a copy
  // like that, too; the next commit replaces it.
  enum class Copy : uint8_t { none, damaged, maybe_unfinished };
  Copy copy = Copy::none;
};

struct CutRange {
  BlobRange range;
  std::string saved_as;           // blob in "lost-found" (hexadecimal name), empty if not saved
  uint64_t saved_size_bytes = 0;  // at most kSavedPerCutMaxBytes of the range are kept
};

struct RecoveryReport {
  bool was_clean = false;  // the last writer closed the store
  std::vector<CutRange> cuts;
  std::vector<BlobRange> damage;   // damaged and left as it is
  std::vector<std::string> notes;  // everything else worth telling, one sentence each

  [[nodiscard]] bool empty() const { return cuts.empty() && damage.empty() && notes.empty(); }
};

// For people, one line: "index/0000000000000001 at file offset 4104, 17 bytes: torn", and of a cut
// that was made also where its copy is: "..., 17 bytes, saved as lost-found/69: torn".
[[nodiscard]] std::string describe(const BlobRange& range);
[[nodiscard]] std::string describe(const CutRange& made);

// What a strict open says of a store in which a look found something: Errc::corrupt if there is
// damage, or a cut to be made.
[[nodiscard]] Status refuse_damage_and_cuts(const RecoveryReport& report);

inline constexpr std::string_view kLostFoundPartition = "lost-found";
inline constexpr uint64_t kSavedPerCutMaxBytes = 64u << 20;

// Collects a report while structures recover, and saves what they are about to cut.
// Owned by whoever opens a store; structures get a reference. Not thread-safe.
class RecoveryLog {
 public:
  // With `read_only`, save_and_cut only notes: nothing on disk changes.
  RecoveryLog(Storage& storage, bool read_only) : storage_(storage), read_only_(read_only) {}

  // Durably copies `range` of `blob` to "lost-found" (all-zero ranges are not worth saving and are
  // only noted) and records the cut. The caller then cuts. Fails if the copy cannot be made:
  // nothing may be cut then.
  [[nodiscard]] Status save_before_cut(Blob& blob, BlobRange range);

  // A cut of bytes that nobody was promised: no copy is made. If a recovery that was interrupted
  // made one, which then took them for more than that, it is named.
  [[nodiscard]] Status note_cut(Blob& blob, BlobRange range);
  void note_damage(BlobRange range) { report_.damage.push_back(std::move(range)); }
  void note(std::string sentence) { report_.notes.push_back(std::move(sentence)); }

  [[nodiscard]] bool read_only() const { return read_only_; }
  [[nodiscard]] RecoveryReport& report() { return report_; }
  [[nodiscard]] const RecoveryReport& report() const { return report_; }

 private:
  Storage& storage_;
  bool read_only_;
  RecoveryReport report_;
};

}  // namespace firn
