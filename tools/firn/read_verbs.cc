// SPDX-License-Identifier: Apache-2.0
//
// firn archive get and list: items, one or many.
#include <algorithm>

#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "firn/base/text.h"
#include "tools/firn/item.h"
#include "tools/firn/progress.h"
#include "tools/firn/verbs.h"

namespace firn::command {
namespace {

using nlohmann::ordered_json;

Result<ArchiveItem> find_item(const PrunableArchive& archive, const GetRequest& request) {
  std::optional<ArchiveItem> found;
  if (request.index) {
    TRY_INTO(found, archive.find(*request.index));
    if (found) return std::move(*found);
    if (*request.index < archive.oldest_allowed()) {
      return fail(Errc::pruned, concat("index ", *request.index,
                                       " is pruned: the oldest index "
                                       "that can exist is ",
                                       archive.oldest_allowed()));
    }
    return fail(Errc::not_found, concat("index ", *request.index,
                                        " is missing; 'firn archive "
                                        "gaps' lists what else is"));
  }
  const auto key = from_hex(request.key_hex);
  if (!key || key->empty()) {
    return fail(Errc::invalid_argument, concat("--key '", request.key_hex,
                                               "' is not hexadecimal: "
                                               "two digits a byte, nothing else"));
  }
  TRY_INTO(found, archive.find(*key));
  if (found) return std::move(*found);
  return fail(Errc::not_found, concat("no item has the key ", to_hex(*key),
                                      archive.oldest_allowed() > 0 ? ", or it is pruned" : ""));
}

// How many items there are to list, at most.
uint64_t items_from(const PrunableArchive& archive, const ListRequest& request) {
  const uint64_t first = archive.first_index().value_or(0);
  const uint64_t last = archive.last_index().value_or(0);
  const uint64_t from =
      std::clamp(request.from.value_or(request.reverse ? last : first), first, last);
  const uint64_t indices = request.reverse ? from - first : last - from;
  // There may be several of an index, or none.
  return request.from ? std::min(archive.statistics().records, indices + 1)
                      : archive.statistics().records;
}

}  // namespace

Status run_get(const GetRequest& request, Output& output) {
  TRY_INTO(const OpenedArchive opened, open_archive(request.store, Access::read));
  TRY_INTO(const ArchiveItem found, find_item(*opened.archive, request));
  TRY_INTO(const Value value, opened.archive->read_value(found));
  const Item item = decode_item(value.bytes());
  const ByteSpan shown = request.raw ? item.whole : item.content;
  if (!output.json()) {
    TRY(output.write(shown));
    return output.flush();
  }
  ordered_json object = {
      {"index", found.index}, {"key", to_hex(found.key)}, {"size", item.content.size()}};
  if (item.file) {
    describe_file(*item.file, object);
    object["mode"] = item.file->mode;
    object["mtime"] = time_text(item.file->mtime);
  }
  describe_content(shown, object);
  return output.result(std::move(object), {}, {});
}

Status run_list(const ListRequest& request, Output& output) {
  TRY_INTO(const OpenedArchive opened, open_archive(request.store, Access::read));
  const PrunableArchive& archive = *opened.archive;
  uint64_t left = request.limit.value_or(UINT64_MAX);
  uint64_t unreadable = 0;
  Status written;
  Progress progress("listing", std::min(left, items_from(archive, request)), "items");
  progress.leave_room_for_output();
  const auto show = [&](const ArchiveItem& found) -> Status {
    const auto value = archive.read_value(found);
    if (!value && value.error().code != Errc::corrupt)
      return fail(value.error().code, value.error().message);
    if (!value) {
      ++unreadable;
      progress.finish();
      warn("list", value.error().message);
    }
    const Item item = decode_item(value ? value->bytes() : ByteSpan());
    if (!output.json()) {
      return output.line(fmt::format("{}\t{}\t{}", found.index, to_hex(found.key),
                                     value ? fmt::format("{}", item.content.size()) : "?"));
    }
    ordered_json object = {{"index", found.index}, {"key", to_hex(found.key)}, {"size", nullptr}};
    if (value) object["size"] = item.content.size();
    if (item.file) describe_file(*item.file, object);
    return output.object(object);
  };
  const auto visit = [&](const ArchiveItem& found) {
    if (left == 0) return false;
    --left;
    written = show(found);
    progress.add(1);
    return written.has_value() && left > 0;
  };
  Status visited =
      left == 0 ? Status()
                : archive.visit(request.reverse ? 0 : request.from.value_or(0),
                                request.reverse ? request.from.value_or(UINT64_MAX) : UINT64_MAX,
                                request.reverse, visit);
  progress.finish();
  TRY(std::move(written));
  TRY(output.flush());
  if (!visited) return visited;
  if (unreadable == 0) return {};
  return fail(Errc::corrupt, concat(unreadable,
                                    " of the listed items cannot be read; run 'firn "
                                    "verify --deep ",
                                    request.store.path, "'"));
}

}  // namespace firn::command
