// SPDX-License-Identifier: Apache-2.0
#include "tools/firn/content_keys.h"

#include "firn/base/text.h"
#include "firn/journal/indexed_value_log.h"
#include "firn/journal/section_name.h"
#include "tools/firn/item.h"
#include "tools/firn/sha256.h"

namespace firn::command {
namespace {

void check_content(const auto& item, const Result<Value>& value, const IndexedValueLog& log,
                   RecoveryLog& findings) {
  if (!value || equal_bytes(sha256(decode_item(value->bytes()).content), item.key)) return;
  findings.note_damage({log.values().partition(), journal::section_hex(item.section),
                        item.location.offset, item.location.size_bytes,
                        concat("content whose SHA-256 is not its key, ", to_hex(item.key),
                               ": it may be of another key")});
}

// What the walk did not get past is damage that was found before.
Status end_content_check(const Status& walked, RecoveryLog& findings) {
  if (walked || walked.error().code != Errc::corrupt) return walked;
  findings.note(concat("not every value was compared with its key: ", walked.error().message));
  return {};
}

}  // namespace

Status require_content_keys(uint32_t key_size_bytes) {
  if (key_size_bytes == sizeof(Sha256)) return {};
  return fail(Errc::invalid_argument,
              concat("--content wants keys that are the SHA-256 of their content, of 32 bytes; "
                     "those of this store have ",
                     key_size_bytes));
}

Status check_contents(const PrunableArchive& archive, RecoveryLog& findings) {
  const Status walked = archive.visit(0, UINT64_MAX, false, [&](const ArchiveItem& item) {
    check_content(item, archive.read_value(item), archive.log(), findings);
    return true;
  });
  return end_content_check(walked, findings);
}

Status check_contents(const Freezer& freezer, RecoveryLog& findings) {
  const Status walked = freezer.visit([&](const FreezerItem& item) {
    check_content(item, freezer.get(item.cursor()), freezer.log(), findings);
    return true;
  });
  return end_content_check(walked, findings);
}

}  // namespace firn::command
