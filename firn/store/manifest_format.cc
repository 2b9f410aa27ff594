// SPDX-License-Identifier: Apache-2.0
#include "firn/store/manifest_format.h"

#include "firn/base/text.h"

namespace firn::store {
namespace {

constexpr auto kNumberType = std::byte{0};
constexpr auto kTextType = std::byte{1};
constexpr size_t kSentenceMaxBytes = 512;
constexpr size_t kFindingsMax = 16;

// The sentence as the inside of a JSON string; what is not printable ASCII becomes a '?'.
std::string escape(std::string_view sentence) {
  std::string escaped;
  for (const char c : sentence.substr(0, kSentenceMaxBytes)) {
    if (c == '"' || c == '\\') escaped += '\\';
    escaped += c >= ' ' && c <= '~' ? c : '?';
  }
  return escaped;
}

uint64_t total_size(const std::vector<BlobRange>& ranges) {
  uint64_t total = 0;
  for (const BlobRange& range : ranges)
    total += range.size_bytes;
  return total;
}

// The worst first, at most so many as are kept.
std::string findings(const RecoveryReport& report) {
  std::string list;
  size_t count = 0;
  const auto add = [&](std::string_view kind, const std::string& sentence) {
    if (++count > kFindingsMax) return;
    list += concat(list.empty() ? "" : ",", "\"", escape(concat(kind, sentence)), "\"");
  };
  for (const BlobRange& range : report.damage)
    add("damaged: ", describe(range));
  for (const CutRange& cut : report.cuts)
    add("cut: ", describe(cut));
  for (const std::string& note : report.notes)
    add("", note);
  return list;
}

}  // namespace

std::string_view own_version() {
  return "firn " FIRN_VERSION;
}

Bytes encode_geometry(const GeometryField& field) {
  Bytes bytes = {kTextType, static_cast<std::byte>(field.name.size())};
  const auto append = [&](ByteSpan part) { bytes.insert(bytes.end(), part.begin(), part.end()); };
  append(as_bytes(field.name));
  if (const auto* number = std::get_if<uint64_t>(&field.value)) {
    bytes[0] = kNumberType;
    append(encode_number(*number));
  } else {
    append(as_bytes(std::get<std::string>(field.value)));
  }
  return bytes;
}

std::optional<GeometryField> decode_geometry(ByteSpan bytes) {
  if (bytes.size() < 2) return std::nullopt;
  const auto name_size = std::to_integer<size_t>(bytes[1]);
  if (name_size == 0 || name_size > bytes.size() - 2) return std::nullopt;
  const ByteSpan value = bytes.subspan(2 + name_size);
  GeometryField field{std::string(as_text(bytes.subspan(2, name_size))), uint64_t{0}};
  if (bytes[0] == kTextType) {
    field.value = std::string(as_text(value));
    return field;
  }
  const auto number = decode_number(value);
  if (bytes[0] != kNumberType || !number) return std::nullopt;
  field.value = *number;
  return field;
}

std::string describe_recovery(const RecoveryReport& report, uint64_t generation) {
  uint64_t cut_bytes = 0;
  for (const CutRange& cut : report.cuts)
    cut_bytes += cut.range.size_bytes;
  return concat(R"({"generation":)", generation, R"(,"was_clean":)",
                report.was_clean ? "true" : "false", R"(,"cuts":)", report.cuts.size(),
                R"(,"cut_bytes":)", cut_bytes, R"(,"damage":)", report.damage.size(),
                R"(,"damage_bytes":)", total_size(report.damage), R"(,"notes":)",
                report.notes.size(), R"(,"findings":[)", findings(report), "]}");
}

}  // namespace firn::store
