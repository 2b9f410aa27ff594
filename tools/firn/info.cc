// SPDX-License-Identifier: Apache-2.0
//
// firn info: what a store is, what it holds and what it takes on disk. Works as far as possible on
// stores that are in use or damaged.
#include <algorithm>
#include <filesystem>
#include <span>

#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "firn/base/text.h"
#include "tools/firn/human.h"
#include "tools/firn/store_kind.h"

namespace firn::command {
namespace {

using nlohmann::ordered_json;

constexpr size_t kPendingMax = 20;  // lines of text; JSON has all

struct PartitionSize {
  std::string name;
  std::string role;  // empty: not recorded
  uint64_t blobs = 0;
  uint64_t bytes = 0;
};

std::vector<PartitionSize> measure_partitions(Storage& storage, const std::string& path,
                                              const Manifest* manifest) {
  std::vector<PartitionSize> sizes;
  const auto names = storage.partitions();
  if (!names) return sizes;
  for (const std::string& name : *names) {
    PartitionSize& size = sizes.emplace_back();
    size.name = name;
    if (manifest != nullptr) {
      for (const auto& [role, recorded] : manifest->partitions())
        if (recorded == name) size.role = store_role_name(role);
    }
    std::error_code failed;
    for (std::filesystem::directory_iterator entry(std::filesystem::path(path) / name, failed), end;
         !failed && entry != end; entry.increment(failed)) {
      const auto bytes = entry->file_size(failed);
      if (failed) break;  // removed meanwhile
      ++size.blobs;
      size.bytes += bytes;
    }
  }
  return sizes;
}

// What could be found out. The parts that could not are empty.
struct StoreInfo {
  std::string kind = "unknown";
  std::unique_ptr<Manifest> manifest;
  std::vector<PartitionSize> partitions;
  std::vector<std::string> strays;
  std::optional<StoreSurvey> survey;
  uint64_t reclaimable_bytes = 0;
  std::string locked_by;
  std::optional<Error> problem;
};

void open_and_survey(const StoreKind& kind, const StoreArguments& arguments, StoreInfo& info) {
  const auto keep = [&info](const Error& error) {
    if (error.code == Errc::locked)
      info.locked_by = error.message;
    else
      info.problem = error;
  };
  auto survey = kind.survey(arguments);
  if (!survey) {
    // A store of the original under other names is no failure of its own.
    if (info.manifest != nullptr || survey.error().code != Errc::not_found) keep(survey.error());
    return;
  }
  info.kind = kind.name;
  info.survey = std::move(*survey);
  info.reclaimable_bytes = info.survey->reclaimable_bytes;
}

ordered_json geometry_json(const Manifest& manifest) {
  ordered_json geometry = ordered_json::object();
  for (const GeometryField& field : manifest.geometry())
    std::visit([&](const auto& value) { geometry[field.name] = value; }, field.value);
  return geometry;
}

std::vector<std::string> pending_lines(const RecoveryReport& report) {
  std::vector<std::string> lines;
  for (const BlobRange& damage : report.damage)
    lines.push_back(concat("damaged: ", describe(damage)));
  for (const CutRange& cut : report.cuts)
    lines.push_back(concat("the next writer will cut: ", describe(cut.range)));
  lines.insert(lines.end(), report.notes.begin(), report.notes.end());
  return lines;
}

// The manifest's report of the last recovery. What is no such report is shown as it is.
std::string last_recovery_text(const std::string& recorded) {
  if (recorded.empty()) return "recovery     never needed\n";
  const auto report = ordered_json::parse(recorded, nullptr, false);
  const auto number = [&](const char* name) {
    const auto found = report.find(name);
    return found != report.end() && found->is_number_unsigned() ? found->get<uint64_t>() : 0;
  };
  if (!report.is_object() || !report.contains("findings"))
    return fmt::format("recovery     {}\n", recorded);
  std::string text =
      fmt::format("recovery     the last one, at generation {}: {} ({}) cut, {} damaged, {}\n",
                  number("generation"), human_count(number("cuts"), "range", "ranges"),
                  human_bytes(static_cast<double>(number("cut_bytes"))), number("damage"),
                  human_count(number("notes"), "note", "notes"));
  for (const ordered_json& finding : report["findings"])
    text += fmt::format("recovery     {}\n",
                        finding.is_string() ? finding.get<std::string>() : finding.dump());
  const uint64_t found = number("cuts") + number("damage") + number("notes");
  if (found > report["findings"].size())
    text += fmt::format("recovery     and {} more\n", found - report["findings"].size());
  return text;
}

ordered_json info_json(const StoreInfo& info, const std::string& path) {
  ordered_json object = {{"store", path}, {"kind", info.kind}};
  object["manifest"] = info.manifest != nullptr;
  if (info.manifest != nullptr) {
    object["id"] = to_hex(info.manifest->id());
    object["writer_version"] = info.manifest->writer_version();
    object["clean"] = info.manifest->was_clean();
    object["geometry"] = geometry_json(*info.manifest);
    object["last_recovery"] = nullptr;
    if (const std::string last = info.manifest->last_recovery(); !last.empty()) {
      auto parsed = ordered_json::parse(last, nullptr, false);
      object["last_recovery"] = parsed.is_discarded() ? ordered_json(last) : std::move(parsed);
    }
  }
  object["locked_by"] = nullptr;
  if (!info.locked_by.empty()) object["locked_by"] = info.locked_by;
  object["partitions"] = ordered_json::array();
  for (const PartitionSize& size : info.partitions) {
    object["partitions"].push_back(
        {{"name", size.name}, {"role", size.role}, {"blobs", size.blobs}, {"bytes", size.bytes}});
  }
  object["strays"] = info.strays;
  if (info.survey) {
    object[info.kind] = info.survey->facts;
    object["live_bytes"] = info.survey->live_bytes;
    object["reclaimable_bytes"] = info.reclaimable_bytes;
    object["pending"] = pending_lines(info.survey->pending);
  }
  return object;
}

std::string info_text(const StoreInfo& info, const std::string& path) {
  std::string text = fmt::format("store        {}\nkind         {}\n", path, info.kind);
  if (const Manifest* manifest = info.manifest.get(); manifest != nullptr) {
    text += fmt::format("id           {}\nwritten by   {}\n", to_hex(manifest->id()),
                        manifest->writer_version());
    text += "geometry     ";
    for (const GeometryField& field : manifest->geometry()) {
      std::visit([&](const auto& value) { text += fmt::format("{} {}, ", field.name, value); },
                 field.value);
    }
    text.replace(text.size() - 2, 2, "\n");
  } else {
    text += info.survey ? "manifest     none (a store of the original)\n"
                        : "manifest     none: no store, or one of the original under other names "
                          "(--partition ROLE=NAME)\n";
  }
  if (!info.locked_by.empty()) text += fmt::format("locked       {}\n", info.locked_by);
  if (info.survey) {
    text += info.survey->text;
    text += fmt::format("live         {}\nreclaimable  {}\n",
                        human_bytes(static_cast<double>(info.survey->live_bytes)),
                        human_bytes(static_cast<double>(info.reclaimable_bytes)));
  }
  for (const PartitionSize& size : info.partitions) {
    text += fmt::format("partition    {}{}: {}, {}\n", size.name,
                        size.role.empty() ? "" : concat(" (", size.role, ")"),
                        human_count(size.blobs, "file", "files"),
                        human_bytes(static_cast<double>(size.bytes)));
  }
  for (const std::string& stray : info.strays)
    text += fmt::format("stray        {}: not firn's; it is ignored\n", stray);
  if (info.manifest != nullptr) text += last_recovery_text(info.manifest->last_recovery());
  if (!info.survey) return text;
  const std::vector<std::string> pending = pending_lines(info.survey->pending);
  for (const std::string& line : std::span(pending).first(std::min(pending.size(), kPendingMax)))
    text += fmt::format("pending      {}\n", line);
  if (pending.size() > kPendingMax)
    text += fmt::format("pending      and {} more\n", pending.size() - kPendingMax);
  return text;
}

}  // namespace

Status run_info(const InfoRequest& request, Output& output) {
  const std::string& path = request.store.path;
  TRY_INTO(const auto storage, open_storage(path, Access::read));
  StoreInfo info;
  RecoveryLog unused(*storage, true);
  auto manifest = Manifest::open(*storage, true, unused);
  if (manifest) {
    info.manifest = std::move(*manifest);
    if (info.manifest != nullptr) info.kind = info.manifest->kind();
  } else {
    info.problem = manifest.error();
  }
  info.partitions = measure_partitions(*storage, path, info.manifest.get());
  info.strays = strays_of(path);
  if (info.partitions.empty())
    return fail(Errc::not_found, concat("there is no store in '", path, "'"));
  if (const auto writer = storage->find_writer(); writer && *writer)
    info.locked_by = concat("open for writing in ", (*writer)->name);
  const StoreKind* const kind = kind_of_store(*storage, info.manifest.get(), request.store);
  if (kind != nullptr && !info.problem) open_and_survey(*kind, request.store, info);
  for (const PartitionSize& size : info.partitions)
    if (size.name == kLostFoundPartition) info.reclaimable_bytes += size.bytes;
  Status outcome;
  if (info.problem) outcome = fail(info.problem->code, info.problem->message);
  return output.result(info_json(info, path), info_text(info, path), std::move(outcome));
}

}  // namespace firn::command
