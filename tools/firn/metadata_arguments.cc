// SPDX-License-Identifier: Apache-2.0
//
// The options of 'firn metadata'.
#include "tools/firn/metadata_verbs.h"
#include "tools/firn/verb_parser.h"

namespace firn::command {
namespace {

template <class Request>
void add_store_and_key(CLI::App* verb, Request& request) {
  add_store(verb, request.store, metadata_partitions(request.store));
  verb->add_option("KEY", request.key, "text, or 0x and hexadecimal")->required()->type_name("");
}

void add_metadata_put(VerbParser& parser, CLI::App& family) {
  const auto [verb, request] =
      parser.add_verb(family, "put", "set the value of a key, durably", run_metadata_put);
  add_store_and_key(verb, request);
  CLI::Option_group* const what = verb->add_option_group("Which value");
  what->add_option("VALUE", request.value, "the value, as text")->type_name("");
  what->add_option("--file", request.file, "a file with the value; '-' is standard input")
      ->type_name("PATH");
  what->require_option(1);
}

void add_metadata_cas(VerbParser& parser, CLI::App& family) {
  const auto [verb, request] = parser.add_verb(
      family, "cas", "set the value of a key if it is the expected one (exit code 2 if not)",
      run_metadata_cas);
  add_store_and_key(verb, request);
  verb->add_option("VALUES", request.values, "EXPECTED NEW; with --absent only NEW")
      ->required()
      ->expected(1, 2)
      ->type_name("");
  verb->add_flag("--absent", request.absent, "the key is expected to be absent");
}

}  // namespace

void add_metadata_verbs(VerbParser& parser) {
  CLI::App& family = parser.add_family(
      "metadata", "a small map that changes as a whole (see 'firn metadata --help')");
  add_metadata_put(parser, family);
  const auto [get, get_request] =
      parser.add_verb(family, "get", "write the value of a key", run_metadata_get);
  add_store_and_key(get, get_request);
  const auto [remove, remove_request] =
      parser.add_verb(family, "remove", "remove a key, durably", run_metadata_remove);
  add_store_and_key(remove, remove_request);
  const auto [list, list_request] = parser.add_verb(
      family, "list", "print the keys in ascending order and the sizes of their values",
      run_metadata_list);
  add_store(list, list_request.store, metadata_partitions(list_request.store));
  list->add_option("--prefix", list_request.prefix, "only keys that start with this text, or 0x...")
      ->type_name("PREFIX");
  add_metadata_cas(parser, family);
}

}  // namespace firn::command
