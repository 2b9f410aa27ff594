// SPDX-License-Identifier: Apache-2.0
//
// The options of 'firn archive'.
#include "tools/firn/verb_parser.h"

namespace firn::command {
namespace {

void add_archive(CLI::App* verb, StoreArguments& store) {
  add_store(verb, store, archive_partitions(store));
  add_journal_geometry(verb, store);
  add_archive_geometry(verb, store);
}

void add_archive_import(VerbParser& parser, CLI::App& family) {
  const auto [verb, request] = parser.add_verb(
      family, "import", "append files (or lines) as items, after the last index", run_import);
  add_archive(verb, request.store);
  add_import_sources(verb, request.sources, "'synced INDEX' whenever everything up to INDEX");
}

void add_archive_get(VerbParser& parser, CLI::App& family) {
  const auto [verb, request] =
      parser.add_verb(family, "get", "write the content of one item", run_get);
  add_archive(verb, request.store);
  CLI::Option_group* const which = verb->add_option_group("Which item");
  add_number(which, "--index", request.index, "the item's number");
  which->add_option("--key", request.key_hex, "the item's key, in hexadecimal")->type_name("HEX");
  which->require_option(1);
  verb->add_flag("--raw", request.raw, "the whole value: a file's JSON line, too");
}

void add_archive_list(VerbParser& parser, CLI::App& family) {
  const auto [verb, request] =
      parser.add_verb(family, "list", "print index, key and size of items", run_list);
  add_archive(verb, request.store);
  add_number(verb, "--from", request.from, "the first index to look at");
  add_number(verb, "--limit", request.limit, "at most so many items");
  verb->add_flag("--reverse", request.reverse, "from high to low");
}

void add_archive_stat(VerbParser& parser, CLI::App& family) {
  const auto [verb, request] =
      parser.add_verb(family, "stat", "how many items, bytes and gaps there are", run_stat);
  add_archive(verb, request.store);
}

void add_archive_gaps(VerbParser& parser, CLI::App& family) {
  const auto [verb, request] =
      parser.add_verb(family, "gaps", "print the missing ranges: first, last, count", run_gaps);
  add_archive(verb, request.store);
  add_number(verb, "--limit", request.limit, "at most so many ranges");
}

void add_archive_prune(VerbParser& parser, CLI::App& family) {
  const auto [verb, request] =
      parser.add_verb(family, "prune", "drop the oldest items, in whole sections", run_prune);
  add_archive(verb, request.store);
  add_number(verb, "--before", request.before, "drop sections that lie below N completely")
      ->required();
  verb->add_flag("--dry-run", request.dry_run, "only say what would be dropped");
}

void add_archive_export(VerbParser& parser, CLI::App& family) {
  const auto [verb, request] =
      parser.add_verb(family, "export", "restore files with mode and time of change", run_export);
  add_archive(verb, request.store);
  CLI::Option_group* const where = verb->add_option_group("Where to");
  where->add_option("--to", request.directory, "the directory; made if it does not exist")
      ->type_name("DIR")
      ->check([](const std::string& text) { return text.empty() ? "--to needs a name" : ""; });
  where->add_flag("--lines", request.lines, "print every item and a newline instead");
  where->require_option(1);
}

}  // namespace

void add_archive_verbs(VerbParser& parser) {
  CLI::App& family = parser.add_family(
      "archive", "items found by a number and by a key (see 'firn archive --help')");
  add_archive_import(parser, family);
  add_archive_get(parser, family);
  add_archive_list(parser, family);
  add_archive_stat(parser, family);
  add_archive_gaps(parser, family);
  add_archive_prune(parser, family);
  add_archive_export(parser, family);
}

}  // namespace firn::command
