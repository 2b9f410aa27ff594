// SPDX-License-Identifier: Apache-2.0
//
// VerbParser: what a family of verbs is declared with. A family has one file, X_arguments.cc, with
// one function that adds all its verbs; parse_command_line calls it. Only these files know CLI11,
// which is slow to compile.
#pragma once

#include <charconv>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include "firn/base/text.h"
#include "tools/firn/command_line.h"
#include "tools/firn/item_import.h"
#include "tools/firn/store_access.h"

namespace firn::command {

class VerbParser {
 public:
  explicit VerbParser(CommandLine& parsed);

  // Verbs without a family, and the families themselves.
  [[nodiscard]] CLI::App& app() { return app_; }
  CLI::App& add_family(const std::string& name, const std::string& description);

  // A verb: `run` gets the request that the options have filled.
  template <class Request>
  std::pair<CLI::App*, Request&> add_verb(CLI::App& parent, const std::string& name,
                                          const std::string& description,
                                          Status (*run)(const Request&, Output&)) {
    CLI::App* const verb = parent.add_subcommand(name, description);
    verb->add_flag("--json", parsed_.json, "print JSON, one object a line");
    const auto request = std::make_shared<Request>();
    verbs_[verb] = [request, run](Output& output) { return run(*request, output); };
    return {verb, *request};
  }

  Status parse(int argument_count, char** arguments);

 private:
  [[nodiscard]] const CLI::App& chosen_app() const;
  void note_chosen(std::span<char* const> arguments);
  [[nodiscard]] std::string unknown_verb(std::span<char* const> arguments) const;

  CommandLine& parsed_;
  CLI::App app_{"firn: crash-safe append-only storage", "firn"};
  std::map<const CLI::App*, Verb> verbs_;
};

// Decimal digits only: no unit, no other base, no sign where no number is negative.
template <class T>
[[nodiscard]] T parse_number(const std::string& text) {
  T number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (text.empty() || error != std::errc() || end != text.data() + text.size())
    throw CLI::ConversionError(concat("'", text, "' is not a number from ",
                                      std::numeric_limits<T>::min(), " to ",
                                      std::numeric_limits<T>::max()));
  return number;
}

template <class T>
CLI::Option* add_number(CLI::App* verb, const std::string& name, std::optional<T>& target,
                        const std::string& description, const std::string& type = "N") {
  return verb
      ->add_option_function<std::string>(
          name, [&target](const std::string& text) { target = parse_number<T>(text); }, description)
      ->type_name(type);
}

// The roles that --partition takes, and where their names go.
using PartitionTargets = std::vector<std::pair<std::string, std::optional<std::string>*>>;

// STORE, and what all kinds of stores record: --key-size and --partition.
void add_store(CLI::App* verb, StoreArguments& store, const PartitionTargets& partitions,
               const std::string& name = "STORE");
// --page-size, --compression.
void add_journal_geometry(CLI::App* verb, StoreArguments& store);
// --items-per-section.
void add_archive_geometry(CLI::App* verb, StoreArguments& store);
// --table-size.
void add_freezer_geometry(CLI::App* verb, StoreArguments& store);
// PATH, --lines, --sync-every, --ack; `acknowledgement` is what the last one prints, and when.
void add_import_sources(CLI::App* verb, ImportSources& sources, const std::string& acknowledgement);
[[nodiscard]] PartitionTargets archive_partitions(StoreArguments& store);
[[nodiscard]] PartitionTargets freezer_partitions(StoreArguments& store);
[[nodiscard]] PartitionTargets metadata_partitions(StoreArguments& store);

// The families and the verbs that work on every kind of store.
void add_archive_verbs(VerbParser& parser);
void add_freezer_verbs(VerbParser& parser);
void add_metadata_verbs(VerbParser& parser);
void add_store_verbs(VerbParser& parser);

}  // namespace firn::command
