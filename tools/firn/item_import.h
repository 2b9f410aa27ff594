// SPDX-License-Identifier: Apache-2.0
//
// Importing: files or lines become items of a store, synced now and then and acknowledged. What
// kinds of stores do differently is an ItemSink.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "firn/base/bytes.h"
#include "firn/base/result.h"
#include "firn/io/recovery_report.h"
#include "tools/firn/file_walk.h"
#include "tools/firn/output.h"

namespace firn::command {

// What to import and when to make it durable.
struct ImportSources {
  std::vector<std::string> paths;  // "-" with `lines`: standard input
  bool lines = false;
  std::optional<uint64_t> sync_every;  // items
  bool acknowledge = false;
};

// The store that items go to.
class ItemSink {
 public:
  ItemSink() = default;
  virtual ~ItemSink() = default;
  ItemSink(const ItemSink&) = delete;
  ItemSink& operator=(const ItemSink&) = delete;

  // Takes an item; the value is in parts. Durable after sync().
  virtual Status put(ByteSpan key, std::span<const ByteSpan> value) = 0;
  virtual Status sync() = 0;
  virtual Status close() = 0;
  // What an acknowledgement names, after sync(): the last of the items, or how many there are.
  [[nodiscard]] virtual uint64_t acknowledgement() const = 0;
};

struct Imported {
  uint64_t items = 0;
  uint64_t bytes = 0;
  uint64_t failed = 0;         // sources that were left out
  uint64_t too_large = 0;      // those of them that could have been read
  uint64_t special_files = 0;  // neither files nor directories
  double seconds = 0;
};

// Errc::invalid_argument for sources that cannot be meant, and for keys of another size than the
// 32 bytes of a SHA-256.
[[nodiscard]] Status check_sources(const ImportSources& sources,
                                   std::optional<uint32_t> key_size_bytes);

// The files to import. Comes before the store is opened: a wrong path makes no store.
[[nodiscard]] Result<FoundFiles> find_sources(const ImportSources& sources,
                                              const std::string& store_path);

// Puts everything, syncs, acknowledges and closes the store. What was put before a failure is kept.
[[nodiscard]] Result<Imported> import_items(const ImportSources& sources, const FoundFiles& found,
                                            ItemSink& sink, Output& output);

// Prints the summary; `object` and `text` are what the store adds to it.
[[nodiscard]] Status summarize_import(const Imported& imported,
                                      const nlohmann::ordered_json& object, const std::string& text,
                                      Output& output);

}  // namespace firn::command
