// SPDX-License-Identifier: Apache-2.0
#include "tools/firn/content_keys.h"

#include "firn/archive/format.h"
#include "firn/base/text.h"
#include "firn/freezer/format.h"
#include "firn/journal/indexed_value_log.h"
#include "firn/journal/section_name.h"
#include "tools/firn/item.h"
#include "tools/firn/sha256.h"

namespace firn::command {
namespace {

bool is_damage(Errc code) {
  return code == Errc::corrupt || code == Errc::out_of_range || code == Errc::unsupported_version;
}

using KeyOf = ByteSpan(ByteSpan record);

class ContentCheck {
 public:
  ContentCheck(const IndexedValueLog& log, KeyOf* key_of, RecoveryLog& findings)
      : log_(log), key_of_(key_of), findings_(findings) {}

  Result<uint64_t> run() {
    TRY_INTO(FixedReplay replay, log_.replay());
    while (true) {
      auto item = replay.next();
      if (!item && !is_damage(item.error().code)) return pass_on(item);
      if (!item) {
        is_whole_ = false;
        replay.skip_damaged_page();
        continue;
      }
      if (!*item) break;
      TRY(compare(**item));
    }
    if (!is_whole_)
      findings_.note(concat("damage kept some values from being compared with their keys: ",
                            compared_, " of at least ", replay.record_count(), " were"));
    return compared_;
  }

 private:
  Status compare(const FixedReplay::Item& item) {
    const ValueLocation location = IndexedValueLog::location_of(item.record);
    auto value = log_.read_value(item.section, location);
    if (!value && !is_damage(value.error().code)) return pass_on(value);
    if (!value) {
      is_whole_ = false;
      return {};
    }
    ++compared_;
    const ByteSpan key = key_of_(item.record);
    if (!equal_bytes(sha256(decode_item(value->bytes()).content), key))
      findings_.note_damage({log_.values().partition(), journal::section_hex(item.section),
                             location.offset, location.size_bytes,
                             concat("content whose SHA-256 is not its key, ", to_hex(key),
                                    ": it may be of another key")});
    return {};
  }

  const IndexedValueLog& log_;
  KeyOf* const key_of_;
  RecoveryLog& findings_;
  uint64_t compared_ = 0;
  bool is_whole_ = true;
};

}  // namespace

Status require_content_keys(uint32_t key_size_bytes) {
  if (key_size_bytes == sizeof(Sha256)) return {};
  return fail(Errc::invalid_argument,
              concat("--content wants keys that are the SHA-256 of their content, of 32 bytes; "
                     "those of this store have ",
                     key_size_bytes));
}

Result<uint64_t> check_contents(const PrunableArchive& archive, RecoveryLog& findings) {
  return ContentCheck(archive.log(), archive::key_of, findings).run();
}

Result<uint64_t> check_contents(const Freezer& freezer, RecoveryLog& findings) {
  return ContentCheck(freezer.log(), freezer::key_of, findings).run();
}

}  // namespace firn::command
