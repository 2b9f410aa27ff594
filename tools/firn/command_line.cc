// SPDX-License-Identifier: Apache-2.0
#include "tools/firn/command_line.h"

#include <algorithm>
#include <span>
#include <string_view>

#include "tools/firn/salvage.h"
#include "tools/firn/verb_parser.h"

namespace firn::command {
namespace {

constexpr std::string_view kUsageHint = "; 'firn --help' and 'firn VERB --help' tell more";
constexpr const char* kStoreGroup =
    "What the store is (for new ones, and for those of the original)";

}  // namespace

VerbParser::VerbParser(CommandLine& parsed) : parsed_(parsed) {
  app_.require_subcommand(1);
  app_.add_flag("--json", parsed_.json, "print JSON, one object a line");
  app_.set_version_flag("--version", FIRN_VERSION, "print the version and exit");
  app_.footer(
      "Exit codes: 0 done, 1 wrong usage, 2 not found, 3 corrupt, 4 locked, 5 I/O or no space.");
}

CLI::App& VerbParser::add_family(const std::string& name, const std::string& description) {
  CLI::App* const family = app_.add_subcommand(name, description);
  family->require_subcommand(1);
  return *family;
}

Status VerbParser::parse(int argument_count, char** arguments) {
  try {
    app_.parse(argument_count, arguments);
  } catch (const CLI::CallForHelp&) {
    const CLI::App& chosen = chosen_app();
    std::string above;
    for (const CLI::App* app = chosen.get_parent(); app != nullptr; app = app->get_parent())
      above = concat(app->get_name(), above.empty() ? "" : " ", above);
    parsed_.help = chosen.help(above, CLI::AppFormatMode::Normal);
    return {};
  } catch (const CLI::CallForVersion&) {
    parsed_.help = concat("firn ", FIRN_VERSION, "\n");
    return {};
  } catch (const CLI::ParseError& error) {
    const std::span<char* const> all(arguments, static_cast<size_t>(argument_count));
    note_chosen(all);
    const std::string unknown = unknown_verb(all);
    const bool lacks_verb = !verbs_.contains(&chosen_app());
    return fail(Errc::invalid_argument, !unknown.empty()
                                            ? concat("there is no verb '", unknown, "'", kUsageHint)
                                        : lacks_verb ? concat("a verb is required", kUsageHint)
                                                     : concat(error.what(), kUsageHint));
  }
  const CLI::App& chosen = chosen_app();
  parsed_.verb = chosen.get_name();
  parsed_.run = verbs_.at(&chosen);
  return {};
}

const CLI::App& VerbParser::chosen_app() const {
  const CLI::App* current = &app_;
  while (!current->get_subcommands().empty())
    current = current->get_subcommands().front();
  return *current;
}

// After an error, CLI11 may have stopped before it came to the verb or to --json.
void VerbParser::note_chosen(std::span<char* const> arguments) {
  const auto is = [&](std::string_view word) {
    return std::ranges::any_of(arguments, [&](const char* other) { return word == other; });
  };
  parsed_.json = parsed_.json || is("--json");
  const CLI::App& chosen = chosen_app();
  if (&chosen != &app_) parsed_.verb = chosen.get_name();
}

// The word where a verb is expected, if there is one; CLI11 only says that a verb is required.
std::string VerbParser::unknown_verb(std::span<char* const> arguments) const {
  const CLI::App& chosen = chosen_app();
  if (verbs_.contains(&chosen)) return {};
  for (const char* word : arguments.subspan(std::min<size_t>(1, arguments.size())))
    if (*word != '-' && word != chosen.get_name()) return word;
  return {};
}

void add_store(CLI::App* verb, StoreArguments& store, const PartitionTargets& partitions,
               const std::string& name) {
  verb->add_option(name, store.path, "the directory of the store")->required()->type_name("");
  add_number(verb, "--key-size", store.key_size_bytes, "bytes of a key (32)")->group(kStoreGroup);
  std::string roles;
  for (const auto& [role, target] : partitions)
    roles += concat(roles.empty() ? "" : ", ", role, "=NAME");
  const auto take = [partitions, roles](const std::vector<std::string>& texts) {
    for (const std::string& text : texts) {
      const size_t equals = text.find('=');
      const auto named = std::ranges::find(partitions, text.substr(0, equals),
                                           &PartitionTargets::value_type::first);
      if (equals == std::string::npos || equals + 1 == text.size() || named == partitions.end())
        throw CLI::ConversionError(concat("'", text, "': expected ", roles, " after --partition"));
      *named->second = text.substr(equals + 1);
    }
  };
  verb->add_option_function<std::vector<std::string>>("--partition", take,
                                                      concat("the partition of a role: ", roles))
      ->type_name("ROLE=NAME")
      ->allow_extra_args(false)
      ->group(kStoreGroup);
}

void add_journal_geometry(CLI::App* verb, StoreArguments& store) {
  add_number(verb, "--page-size", store.page_size_bytes, "bytes of a page (4084)")
      ->group(kStoreGroup);
  const auto take = [&store](const std::string& text) {
    store.compression_level = text == "none" ? kNoCompression : parse_number<int>(text);
  };
  verb->add_option_function<std::string>("--compression", take,
                                         "values are compressed with zstd: the level for new ones, "
                                         "0 for zstd's default; or 'none'")
      ->type_name("LEVEL")
      ->group(kStoreGroup);
}

void add_archive_geometry(CLI::App* verb, StoreArguments& store) {
  add_number(verb, "--items-per-section", store.items_per_section,
             "indices of a section, the unit of pruning (65536)")
      ->group(kStoreGroup);
}

void add_freezer_geometry(CLI::App* verb, StoreArguments& store) {
  add_number(verb, "--table-size", store.table_initial_size,
             "positions of the table at first, a power of two (4096)")
      ->group(kStoreGroup);
}

void add_import_sources(CLI::App* verb, ImportSources& sources,
                        const std::string& acknowledgement) {
  verb->add_option("PATH", sources.paths,
                   "files, and directories of files; symbolic links are not followed; '-' with "
                   "--lines is standard input")
      ->required()
      ->type_name("");
  verb->add_flag("--lines", sources.lines, "every line is an item, instead of every file");
  add_number(verb, "--sync-every", sources.sync_every,
             "make items durable after every N (10,000, or 256 MiB)");
  verb->add_flag("--ack", sources.acknowledge, concat("print ", acknowledgement, " is durable"));
}

PartitionTargets archive_partitions(StoreArguments& store) {
  return {{"index", &store.index_partition}, {"values", &store.values_partition}};
}

PartitionTargets freezer_partitions(StoreArguments& store) {
  return {{"table", &store.table_partition},
          {"index", &store.index_partition},
          {"values", &store.values_partition}};
}

PartitionTargets metadata_partitions(StoreArguments& store) {
  return {{"metadata", &store.metadata_partition}};
}

void add_store_verbs(VerbParser& parser) {
  const auto add_all = [](CLI::App* verb, StoreArguments& store, const char* name) {
    PartitionTargets partitions = freezer_partitions(store);
    for (const auto& target : metadata_partitions(store))
      partitions.push_back(target);
    add_store(verb, store, partitions, name);
    add_journal_geometry(verb, store);
    add_archive_geometry(verb, store);
    add_freezer_geometry(verb, store);
  };
  const auto [info, info_request] =
      parser.add_verb(parser.app(), "info", "what a store is, holds and takes on disk", run_info);
  add_all(info, info_request.store, "STORE");
  const auto [verify, verify_request] =
      parser.add_verb(parser.app(), "verify", "look for damage; changes nothing", run_verify);
  add_all(verify, verify_request.store, "STORE");
  auto* const deep = verify->add_flag("--deep", verify_request.deep, "read every value, too");
  verify
      ->add_flag("--content", verify_request.content,
                 "keys are the SHA-256 of the content, as after an import: compare them")
      ->needs(deep);
  const auto [salvage, salvage_request] =
      parser.add_verb(parser.app(), "salvage",
                      "put what can be read of a damaged store into a new one", run_salvage);
  add_all(salvage, salvage_request.store, "SRC");
  salvage->add_option("DST", salvage_request.target, "the new store; must not exist, or be empty")
      ->required()
      ->type_name("");
  parser.add_verb(parser.app(), "version", "which firn this is", run_version);
}

Status parse_command_line(int argument_count, char** arguments, CommandLine& parsed) {
  VerbParser parser(parsed);
  add_archive_verbs(parser);
  add_freezer_verbs(parser);
  add_metadata_verbs(parser);
  add_store_verbs(parser);
  return parser.parse(argument_count, arguments);
}

}  // namespace firn::command
