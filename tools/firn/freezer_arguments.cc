// SPDX-License-Identifier: Apache-2.0
//
// The options of 'firn freezer'.
#include "tools/firn/freezer_verbs.h"
#include "tools/firn/verb_parser.h"

namespace firn::command {
namespace {

void add_freezer(CLI::App* verb, StoreArguments& store) {
  add_store(verb, store, freezer_partitions(store));
  add_journal_geometry(verb, store);
  add_freezer_geometry(verb, store);
}

CLI::Option* add_key(CLI::App* verb, std::string& key_hex, const std::string& description) {
  return verb->add_option("--key", key_hex, description)->type_name("HEX");
}

void add_freezer_import(VerbParser& parser, CLI::App& family) {
  const auto [verb, request] = parser.add_verb(
      family, "import", "put files (or lines) under their SHA-256", run_freezer_import);
  add_freezer(verb, request.store);
  add_import_sources(verb, request.sources, "'synced COUNT' whenever so many items of this import");
}

void add_freezer_put(VerbParser& parser, CLI::App& family) {
  const auto [verb, request] =
      parser.add_verb(family, "put", "put one value, durably, and print its key", run_freezer_put);
  add_freezer(verb, request.store);
  add_key(verb, request.key_hex, "the key, in hexadecimal (the SHA-256 of the value)");
  CLI::Option_group* const what = verb->add_option_group("Which value");
  what->add_option("VALUE", request.value, "the value, as text")->type_name("");
  what->add_option("--file", request.file, "a file with the value; '-' is standard input")
      ->type_name("PATH");
  what->require_option(1);
}

void add_freezer_reading(VerbParser& parser, CLI::App& family) {
  const auto [get, get_request] =
      parser.add_verb(family, "get", "write the content of one item", run_freezer_get);
  add_freezer(get, get_request.store);
  add_key(get, get_request.key_hex, "the key, in hexadecimal")->required();
  get->add_flag("--raw", get_request.raw, "the whole value: a file's JSON line, too");
  const auto [contains, contains_request] = parser.add_verb(
      family, "contains", "is a key there? If not, the exit code is 2", run_freezer_contains);
  add_freezer(contains, contains_request.store);
  add_key(contains, contains_request.key_hex, "the key, in hexadecimal")->required();
  const auto [list, list_request] = parser.add_verb(
      family, "list", "print key and size of every put, in order", run_freezer_list);
  add_freezer(list, list_request.store);
  add_number(list, "--limit", list_request.limit, "at most so many items");
}

}  // namespace

void add_freezer_verbs(VerbParser& parser) {
  CLI::App& family = parser.add_family(
      "freezer", "items kept for ever, found by a key (see 'firn freezer --help')");
  add_freezer_import(parser, family);
  add_freezer_put(parser, family);
  add_freezer_reading(parser, family);
  const auto [stat, stat_request] =
      parser.add_verb(family, "stat", "how many items and bytes, and how well the table is filled",
                      run_freezer_stat);
  add_freezer(stat, stat_request.store);
  const auto [rebuild, rebuild_request] = parser.add_verb(
      family, "rebuild", "make the table on disk anew from the key journal", run_freezer_rebuild);
  add_freezer(rebuild, rebuild_request.store);
}

}  // namespace firn::command
