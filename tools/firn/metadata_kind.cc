// SPDX-License-Identifier: Apache-2.0
//
// What info and verify do with a store of kind "metadata".
#include <fmt/core.h>

#include "firn/base/text.h"
#include "tools/firn/exit_code.h"
#include "tools/firn/human.h"
#include "tools/firn/metadata_access.h"
#include "tools/firn/store_kind.h"

namespace firn::command {
namespace {

Status count_bytes(Storage& storage, const std::string& partition, Verified& verified,
                   Progress& progress) {
  TRY_INTO(const auto names, storage.scan(partition));
  for (const Bytes& name : names) {
    const auto blob = storage.open(partition, name, OpenMode::read_only);
    if (!blob) continue;  // damaged, and reported as such
    verified.checked_bytes += (*blob)->size();
    progress.add((*blob)->size());
  }
  return {};
}

// Of a store whose manifest cannot be read, whether its copies can.
Status verify_copies(const StoreArguments& arguments, Verified& verified, Progress& progress) {
  TRY_INTO(const auto storage, open_storage(arguments.path, Access::read));
  TRY_INTO(const auto lock, storage->lock(LockMode::shared));
  RecoveryLog findings(*storage, true);
  const auto manifest = Manifest::open(*storage, true, findings);
  const Manifest* const known = manifest ? manifest->get() : nullptr;
  MetadataStoreOptions options;
  options.partition = metadata_partition(arguments, known);
  const uint64_t recorded = known == nullptr ? 0 : known->number("key_size").value_or(0);
  options.key_size_bytes = arguments.key_size_bytes.value_or(
      recorded > 0 && recorded <= kMetadataKeySizeMaxBytes ? static_cast<uint32_t>(recorded) : 32);
  options.read_only = true;
  options.has_commit = has_commit(known);
  const auto opened = MetadataStore::open(*storage, options, findings);
  if (!opened && exit_code_of(opened.error().code) == ExitCode::corrupt)
    findings.note(opened.error().message);
  verified.report = findings.report();
  return count_bytes(*storage, options.partition, verified, progress);
}

}  // namespace

Result<StoreSurvey> survey_metadata_store(const StoreArguments& arguments) {
  TRY_INTO(const auto opened, open_metadata(arguments, Access::read));
  const MetadataStatistics statistics = opened.metadata->statistics();
  const Manifest* const manifest = opened.store->manifest();
  StoreSurvey survey;
  survey.facts = {{"keys", statistics.keys},
                  {"version", opened.metadata->version()},
                  {"image_bytes", statistics.image_bytes},
                  {"key_size", opened.key_size_bytes}};
  survey.text = fmt::format(
      "keys         {} of {} bytes\nversion      {}\nbytes        {} in each of two copies\n",
      human_count(statistics.keys, "key", "keys"), opened.key_size_bytes,
      opened.metadata->version(), human_bytes(static_cast<double>(statistics.image_bytes)));
  survey.text += fmt::format("closed       {}\n", manifest == nullptr ? "unknown (no manifest)"
                                                  : manifest->was_clean()
                                                      ? "cleanly"
                                                      : "no (a writer is at work, or was stopped)");
  survey.live_bytes = statistics.image_bytes;
  survey.pending = opened.store->recovery().report();
  return survey;
}

Status verify_metadata_store(const VerifyRequest& request, Verified& verified, Progress& progress) {
  verified.read_everything = true;
  if (request.content)
    return fail(Errc::invalid_argument, "--content is for archives and freezers");
  const auto opened = open_metadata(request.store, Access::read);
  if (opened) {
    verified.report = opened->store->recovery().report();
    return count_bytes(*opened->storage, opened->partition, verified, progress);
  }
  if (exit_code_of(opened.error().code) != ExitCode::corrupt)
    return fail(opened.error().code, opened.error().message);
  verified.open_failure = opened.error();
  return verify_copies(request.store, verified, progress);
}

}  // namespace firn::command
