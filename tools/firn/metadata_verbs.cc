// SPDX-License-Identifier: Apache-2.0
#include "tools/firn/metadata_verbs.h"

#include <algorithm>

#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "firn/base/text.h"
#include "tools/firn/file_walk.h"
#include "tools/firn/item.h"
#include "tools/firn/metadata_access.h"

namespace firn::command {
namespace {

using nlohmann::ordered_json;

constexpr std::string_view kHexPrefix = "0x";

// The bytes of a key or of the beginning of one.
Result<Bytes> parse_prefix(const std::string& text, size_t size_max) {
  Bytes bytes = to_bytes(as_bytes(text));
  if (text.starts_with(kHexPrefix)) {
    const auto parsed = from_hex(std::string_view(text).substr(kHexPrefix.size()));
    if (!parsed) return fail(Errc::invalid_argument, concat("'", text, "' is not hexadecimal"));
    bytes = *parsed;
  }
  if (bytes.size() <= size_max) return bytes;
  return fail(Errc::invalid_argument, concat("'", text, "' has ", bytes.size(),
                                             " bytes; the keys of this store have ", size_max));
}

Result<Bytes> parse_key(const std::string& text, size_t size) {
  TRY_INTO(Bytes key, parse_prefix(text, size));
  if (text.empty()) return fail(Errc::invalid_argument, "the key is empty");
  if (text.starts_with(kHexPrefix) && key.size() != size)
    return fail(Errc::invalid_argument, concat("'", text, "' has ", key.size(),
                                               " bytes; the keys of this store have ", size));
  key.resize(size);
  return key;
}

// As parse_key reads it.
std::string key_text(ByteSpan key) {
  std::string_view text = as_text(key);
  text = text.substr(0, text.find_last_not_of('\0') + 1);
  const auto is_control = [](char c) { return static_cast<unsigned char>(c) < ' ' || c == 0x7F; };
  if (text.empty() || text.starts_with(kHexPrefix) || !is_utf8(text) ||
      std::ranges::any_of(text, is_control))
    return concat(kHexPrefix, to_hex(key));
  return std::string(text);
}

// What one bad copy means is for people to judge; the other one is served.
Result<OpenedMetadata> open_and_warn(const StoreArguments& arguments, Access access) {
  TRY_INTO(OpenedMetadata opened, open_metadata(arguments, access));
  warn_of_recovery(kMetadataKind, opened.store->recovery().report());
  return opened;
}

// A key that a new store would refuse does not make one.
Result<OpenedMetadata> open_or_create(const StoreArguments& arguments, const std::string& key) {
  const uint32_t new_key_size = arguments.key_size_bytes.value_or(kDefaultKeySizeBytes);
  if (new_key_size > 0 && !open_storage(arguments.path, Access::read))
    TRY(parse_key(key, new_key_size));
  return open_and_warn(arguments, Access::create);
}

Status absent(const std::string& key) {
  return fail(Errc::not_found, concat("there is no key '", key, "'"));
}

ordered_json describe_change(const OpenedMetadata& opened, ByteSpan key) {
  return {{"key", key_text(key)}, {"version", opened.metadata->version()}};
}

ordered_json describe_pair(ByteSpan key, ByteSpan value) {
  ordered_json object = {{"key", key_text(key)}, {"key_hex", to_hex(key)}, {"size", value.size()}};
  describe_content(value, object);
  return object;
}

}  // namespace

Status run_metadata_put(const MetadataPutRequest& request, Output& output) {
  TRY_INTO(const Bytes value, request.value ? Result<Bytes>(to_bytes(as_bytes(*request.value)))
                                            : read_input(request.file, kMetadataValueSizeMaxBytes));
  TRY_INTO(OpenedMetadata opened, open_or_create(request.store, request.key));
  TRY_INTO(const Bytes key, parse_key(request.key, opened.key_size_bytes));
  TRY(opened.metadata->put(key, value));
  TRY(commit_metadata(opened));
  return output.result(describe_change(opened, key), {}, {});
}

Status run_metadata_get(const MetadataKeyRequest& request, Output& output) {
  TRY_INTO(const OpenedMetadata opened, open_and_warn(request.store, Access::read));
  TRY_INTO(const Bytes key, parse_key(request.key, opened.key_size_bytes));
  const std::optional<Bytes> value = opened.metadata->get(key);
  if (!value) return absent(request.key);
  if (output.json()) return output.result(describe_pair(key, *value), {}, {});
  TRY(output.write(*value));
  return output.flush();
}

Status run_metadata_remove(const MetadataKeyRequest& request, Output& output) {
  TRY_INTO(OpenedMetadata opened, open_and_warn(request.store, Access::write));
  TRY_INTO(const Bytes key, parse_key(request.key, opened.key_size_bytes));
  if (!opened.metadata->get(key)) return absent(request.key);
  TRY(opened.metadata->remove(key));
  TRY(commit_metadata(opened));
  return output.result(describe_change(opened, key), {}, {});
}

Status run_metadata_list(const MetadataListRequest& request, Output& output) {
  TRY_INTO(const OpenedMetadata opened, open_and_warn(request.store, Access::read));
  TRY_INTO(const Bytes prefix, parse_prefix(request.prefix, opened.key_size_bytes));
  Status written;
  opened.metadata->for_each_with_prefix(prefix, [&](ByteSpan key, ByteSpan value) {
    if (!written) return;
    written = output.json() ? output.object(describe_pair(key, value))
                            : output.line(fmt::format("{}\t{}", key_text(key), value.size()));
  });
  TRY(std::move(written));
  return output.flush();
}

Status run_metadata_cas(const MetadataCasRequest& request, Output& output) {
  if (request.values.size() != (request.absent ? 1 : 2))
    return fail(Errc::invalid_argument,
                "expected KEY EXPECTED NEW, or KEY NEW with --absent; 'firn metadata cas --help'");
  TRY_INTO(OpenedMetadata opened, request.absent ? open_or_create(request.store, request.key)
                                                 : open_and_warn(request.store, Access::write));
  TRY_INTO(const Bytes key, parse_key(request.key, opened.key_size_bytes));
  std::optional<ByteSpan> expected;
  if (!request.absent) expected = as_bytes(request.values.front());
  TRY_INTO(const auto compared,
           opened.metadata->compare_and_set(key, expected, as_bytes(request.values.back())));
  const bool is_set = compared == MetadataStore::Comparison::equal;
  if (is_set) TRY(commit_metadata(opened));
  ordered_json object = describe_change(opened, key);
  object["set"] = is_set;
  Status outcome;
  if (!is_set) {
    const auto held = opened.metadata->get(key);
    outcome = fail(Errc::not_found,
                   held ? concat("'", request.key, "' has another value, of ", held->size(),
                                 " bytes; nothing was changed")
                        : concat("there is no key '", request.key, "'; nothing was changed"));
  }
  return output.result(std::move(object), {}, std::move(outcome));
}

}  // namespace firn::command
