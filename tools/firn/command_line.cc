// SPDX-License-Identifier: Apache-2.0
#include "tools/firn/command_line.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <functional>
#include <map>
#include <span>
#include <string_view>

#include <CLI/CLI.hpp>

#include "firn/base/text.h"

namespace firn::command {
namespace {

constexpr std::string_view kUsageHint = "; 'firn --help' and 'firn VERB --help' tell more";

// Decimal digits only: no sign, no unit, no other base.
template <class T>
auto number_into(std::optional<T>& target) {
  return [&target](const std::string& text) {
    T number{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (text.empty() || text.front() == '-' || error != std::errc() ||
        end != text.data() + text.size())
      throw CLI::ConversionError(
          concat("'", text, "' is not a number from 0 to ", std::numeric_limits<T>::max()));
    target = number;
  };
}

void partition_into(StoreArguments& store, const std::string& text) {
  const size_t equals = text.find('=');
  const std::string role = text.substr(0, equals);
  const std::string name = equals == std::string::npos ? "" : text.substr(equals + 1);
  if (name.empty() || (role != "index" && role != "values"))
    throw CLI::ConversionError(
        concat("'", text, "': expected index=NAME or values=NAME after --partition"));
  (role == "index" ? store.index_partition : store.values_partition) = name;
}

// Builds the verbs. Each one has its own request, of which the chosen one is moved out.
class Parser {
 public:
  explicit Parser(CommandLine& parsed) : parsed_(parsed) {
    app_.require_subcommand(1);
    app_.add_flag("--json", parsed_.json, "print JSON, one object a line");
    app_.footer(
        "Exit codes: 0 done, 1 wrong usage, 2 not found, 3 corrupt, 4 locked, 5 I/O or no "
        "space.");
    CLI::App* const archive = app_.add_subcommand(
        "archive", "items found by a number and by a key (see 'firn archive --help')");
    archive->require_subcommand(1);
    add_import(*archive);
    add_get(*archive);
    add_list(*archive);
    add_stat(*archive);
    add_gaps(*archive);
    add_prune(*archive);
    add_export(*archive);
    add_info();
    add_verify();
    add_verb(app_, "version", "which firn this is", version_);
  }

  Status parse(int argument_count, char** arguments) {
    try {
      app_.parse(argument_count, arguments);
    } catch (const CLI::CallForHelp&) {
      const CLI::App& chosen = chosen_app();
      std::string above;
      for (const CLI::App* app = chosen.get_parent(); app != nullptr; app = app->get_parent())
        above = concat(app->get_name(), above.empty() ? "" : " ", above);
      parsed_.help = chosen.help(above, CLI::AppFormatMode::Normal);
      return {};
    } catch (const CLI::ParseError& error) {
      const std::span<char* const> all(arguments, static_cast<size_t>(argument_count));
      note_chosen(all);
      const std::string unknown = unknown_verb(all);
      return fail(Errc::invalid_argument,
                  unknown.empty() ? concat(error.what(), kUsageHint)
                                  : concat("there is no verb '", unknown, "'", kUsageHint));
    }
    const CLI::App& chosen = chosen_app();
    parsed_.verb = chosen.get_name();
    parsed_.request = take_.at(&chosen)();
    return {};
  }

 private:
  const CLI::App& chosen_app() const {
    const CLI::App* current = &app_;
    while (!current->get_subcommands().empty())
      current = current->get_subcommands().front();
    return *current;
  }

  // After an error, CLI11 may have stopped before it came to the verb or to --json.
  void note_chosen(std::span<char* const> arguments) {
    const auto is = [&](std::string_view word) {
      return std::ranges::any_of(arguments, [&](const char* other) { return word == other; });
    };
    parsed_.json = parsed_.json || is("--json");
    const CLI::App& chosen = chosen_app();
    if (&chosen != &app_) parsed_.verb = chosen.get_name();
  }

  // The word where a verb is expected, if there is one; CLI11 only says that a verb is required.
  std::string unknown_verb(std::span<char* const> arguments) const {
    const CLI::App& chosen = chosen_app();
    if (&chosen != &app_ && chosen.get_name() != "archive") return {};
    for (const char* word : arguments.subspan(std::min<size_t>(1, arguments.size())))
      if (*word != '-' && word != chosen.get_name()) return word;
    return {};
  }

  template <class Request>
  CLI::App* add_verb(CLI::App& parent, const std::string& name, const std::string& description,
                     Request& request) {
    CLI::App* const verb = parent.add_subcommand(name, description);
    verb->add_flag("--json", parsed_.json, "print JSON, one object a line");
    take_[verb] = [&request] { return CommandLine::Request(std::move(request)); };
    return verb;
  }

  template <class T>
  static CLI::Option* add_number(CLI::App* verb, const std::string& name, std::optional<T>& target,
                                 const std::string& description, const std::string& type = "N") {
    return verb->add_option_function<std::string>(name, number_into(target), description)
        ->type_name(type);
  }

  static void add_store(CLI::App* verb, StoreArguments& store) {
    verb->add_option("STORE", store.path, "the directory of the store")->required()->type_name("");
    const std::string group = "What the store is (for new ones, and for those of the original)";
    add_number(verb, "--key-size", store.key_size_bytes, "bytes of a key (32)")->group(group);
    add_number(verb, "--page-size", store.page_size_bytes, "bytes of a page (4084)")->group(group);
    add_number(verb, "--items-per-section", store.items_per_section,
               "indices of a section, the unit of pruning (65536)")
        ->group(group);
    add_number(verb, "--compression", store.compression_level,
               "values are compressed with zstd; the level for new ones, 0 for zstd's default",
               "LEVEL")
        ->group(group);
    verb->add_option_function<std::vector<std::string>>(
            "--partition",
            [&store](const std::vector<std::string>& texts) {
              for (const std::string& text : texts)
                partition_into(store, text);
            },
            "the partition of a role: index=NAME, values=NAME")
        ->type_name("ROLE=NAME")
        ->allow_extra_args(false)
        ->group(group);
  }

  void add_import(CLI::App& archive) {
    CLI::App* const verb = add_verb(
        archive, "import", "append files (or lines) as items, after the last index", import_);
    add_store(verb, import_.store);
    verb->add_option("PATH", import_.paths,
                     "files, and directories of files; symbolic links are not followed; '-' with "
                     "--lines is standard input")
        ->required()
        ->type_name("");
    verb->add_flag("--lines", import_.lines, "every line is an item, instead of every file");
    add_number(verb, "--sync-every", import_.sync_every,
               "make items durable after every N (10,000, or 256 MiB)");
    verb->add_flag("--ack", import_.acknowledge,
                   "print 'synced INDEX' whenever everything up to INDEX is durable");
  }

  void add_get(CLI::App& archive) {
    CLI::App* const verb = add_verb(archive, "get", "write the content of one item", get_);
    add_store(verb, get_.store);
    CLI::Option_group* const which = verb->add_option_group("Which item");
    add_number(which, "--index", get_.index, "the item's number");
    which->add_option("--key", get_.key_hex, "the item's key, in hexadecimal")->type_name("HEX");
    which->require_option(1);
    verb->add_flag("--raw", get_.raw, "the whole value: a file's JSON line, too");
  }

  void add_list(CLI::App& archive) {
    CLI::App* const verb = add_verb(archive, "list", "print index, key and size of items", list_);
    add_store(verb, list_.store);
    add_number(verb, "--from", list_.from, "the first index to look at");
    add_number(verb, "--limit", list_.limit, "at most so many items");
    verb->add_flag("--reverse", list_.reverse, "from high to low");
  }

  void add_stat(CLI::App& archive) {
    add_store(add_verb(archive, "stat", "how many items, bytes and gaps there are", stat_),
              stat_.store);
  }

  void add_gaps(CLI::App& archive) {
    CLI::App* const verb =
        add_verb(archive, "gaps", "print the missing ranges: first, last, count", gaps_);
    add_store(verb, gaps_.store);
    add_number(verb, "--limit", gaps_.limit, "at most so many ranges");
  }

  void add_prune(CLI::App& archive) {
    CLI::App* const verb =
        add_verb(archive, "prune", "drop the oldest items, in whole sections", prune_);
    add_store(verb, prune_.store);
    add_number(verb, "--before", before_, "drop sections that lie below N completely")->required();
    verb->add_flag("--dry-run", prune_.dry_run, "only say what would be dropped");
    take_[verb] = [this] {
      prune_.before = *before_;
      return CommandLine::Request(std::move(prune_));
    };
  }

  void add_export(CLI::App& archive) {
    CLI::App* const verb =
        add_verb(archive, "export", "restore files with mode and time of change", export_);
    add_store(verb, export_.store);
    CLI::Option_group* const where = verb->add_option_group("Where to");
    where->add_option("--to", export_.directory, "the directory; made if it does not exist")
        ->type_name("DIR")
        ->check([](const std::string& text) { return text.empty() ? "--to needs a name" : ""; });
    where->add_flag("--lines", export_.lines, "print every item and a newline instead");
    where->require_option(1);
  }

  void add_info() {
    add_store(add_verb(app_, "info", "what a store is, holds and takes on disk", info_),
              info_.store);
  }

  void add_verify() {
    CLI::App* const verb = add_verb(app_, "verify", "look for damage; changes nothing", verify_);
    add_store(verb, verify_.store);
    verb->add_flag("--deep", verify_.deep, "read every value, too");
  }

  CommandLine& parsed_;
  CLI::App app_{"firn: crash-safe append-only storage", "firn"};
  std::map<const CLI::App*, std::function<CommandLine::Request()>> take_;
  VersionRequest version_;
  ImportRequest import_;
  GetRequest get_;
  ListRequest list_;
  StatRequest stat_;
  GapsRequest gaps_;
  PruneRequest prune_;
  std::optional<uint64_t> before_;
  ExportRequest export_;
  InfoRequest info_;
  VerifyRequest verify_;
};

}  // namespace

Status parse_command_line(int argument_count, char** arguments, CommandLine& parsed) {
  Parser parser(parsed);
  return parser.parse(argument_count, arguments);
}

}  // namespace firn::command
