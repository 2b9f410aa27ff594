// SPDX-License-Identifier: Apache-2.0
#include "testkit/fault_plan.h"

#include "firn/base/check.h"
#include "firn/base/text.h"

namespace firn::testkit {

std::string_view call_kind_name(CallKind kind) {
  switch (kind) {
    case CallKind::open: return "open";
    case CallKind::create_file: return "create_file";
    case CallKind::read: return "read";
    case CallKind::write: return "write";
    case CallKind::resize: return "resize";
    case CallKind::sync: return "sync";
    case CallKind::make_directory: return "make_directory";
    case CallKind::remove_file: return "remove_file";
    case CallKind::remove_directory: return "remove_directory";
    case CallKind::list: return "list";
    case CallKind::sync_directory: return "sync_directory";
    case CallKind::lock: return "lock";
  }
  UNREACHABLE("unknown kind of call");
}

std::string describe(const Operation& operation) {
  std::string text = concat(call_kind_name(operation.kind), " ", operation.directory);
  if (!operation.name.empty()) text += concat("/", operation.name);
  if (operation.kind == CallKind::read || operation.kind == CallKind::write)
    text += concat(" ", operation.offset, "+", operation.size);
  if (operation.kind == CallKind::resize) text += concat(" to ", operation.size);
  if (operation.failed) text += " failed";
  return text;
}

}  // namespace firn::testkit
