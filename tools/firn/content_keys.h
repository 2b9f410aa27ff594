// SPDX-License-Identifier: Apache-2.0
//
// Whether each key is the SHA-256 of its content, as an import makes them. That finds what no
// checksum does: values in each other's place, to which the formats give no name.
#pragma once

#include "firn/base/text.h"
#include "firn/io/recovery_report.h"
#include "firn/journal/indexed_value_log.h"
#include "firn/journal/section_name.h"
#include "tools/firn/item.h"
#include "tools/firn/sha256.h"

namespace firn::command {

[[nodiscard]] inline Status require_content_keys(uint32_t key_size_bytes) {
  if (key_size_bytes == sizeof(Sha256)) return {};
  return fail(Errc::invalid_argument,
              concat("--content wants keys that are the SHA-256 of their content, of 32 bytes; "
                     "those of this store have ",
                     key_size_bytes));
}

// Of an item of the store. A value that cannot be read is for others to tell.
void check_content(const auto& item, const Result<Value>& value, const IndexedValueLog& log,
                   RecoveryLog& findings) {
  if (!value || equal_bytes(sha256(decode_item(value->bytes()).content), item.key)) return;
  findings.note_damage({log.values().partition(), journal::section_hex(item.section),
                        item.location.offset, item.location.size_bytes,
                        concat("content whose SHA-256 is not its key, ", to_hex(item.key),
                               ": it may be of another key")});
}

// Of a walk over all items. What it did not get past is damage that was found before.
[[nodiscard]] inline Status end_content_check(const Status& walked, RecoveryLog& findings) {
  if (walked || walked.error().code != Errc::corrupt) return walked;
  findings.note(concat("not every value was compared with its key: ", walked.error().message));
  return {};
}

}  // namespace firn::command
