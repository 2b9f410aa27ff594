// SPDX-License-Identifier: Apache-2.0
//
// What can still be read of an indexed value log, in whatever state its files are: every entry that
// lies in valid pages of its section, with the value that it names, if that passes its checksum.
// Damage in the middle costs what it covers: places are computable. Nothing is written.
//
// Beyond checksums, because a valid page or file may be in a wrong place:
//   an entry whose bytes lie in two pages must go on where the one before it ended;
//   entries are handed out in the order of their values, which is that of their puts;
//   of entries that name the same value, copies are dropped, and different ones all refused;
//   `misfit` says what an entry of this kind of store cannot be.
// A value blob in the place of another one is noticed by the checksums of its values only: where
// both have values of the same sizes, nothing shows it.
//
// Memory: 24 bytes an entry of one section, and one value.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "firn/base/bytes.h"
#include "firn/base/result.h"
#include "firn/base/strong_id.h"
#include "firn/io/salvage.h"
#include "firn/io/storage.h"
#include "firn/journal/floors.h"
#include "firn/journal/indexed_value_log.h"

namespace firn::journal {

struct IndexedValueSalvageOptions {
  std::string index_partition;
  std::string values_partition;
  uint32_t record_size_bytes = 0;  // location included
  uint32_t page_size_bytes = 0;
  bool compressed = false;
  const Floors* floors = nullptr;  // null: unknown
  // Nothing above a floor was acknowledged. Not so if the newest floors may be lost.
  bool floors_are_exact = false;
};

class EntrySink {
 public:
  EntrySink() = default;
  virtual ~EntrySink() = default;
  EntrySink(const EntrySink&) = delete;
  EntrySink& operator=(const EntrySink&) = delete;

  // Why the entry cannot be this one.
  [[nodiscard]] virtual std::optional<std::string> misfit(Section section, Position position,
                                                          ByteSpan entry) = 0;
  [[nodiscard]] virtual Status keep(ByteSpan entry, ByteSpan value) = 0;
  // `entry` is empty if it could not be read.
  [[nodiscard]] virtual Status lose(SalvageLoss loss, ByteSpan entry) = 0;
};

// Fails with the errors of `sink` only.
[[nodiscard]] Status salvage_indexed_values(Storage& storage,
                                            const IndexedValueSalvageOptions& options,
                                            EntrySink& sink, SalvageLog& log);

// A store without a manifest does not say whether its values are compressed, and a compressed value
// that is taken as it is stored would be handed out as its zstd frame. Errc::invalid_argument if
// the values that can be read are such frames: the first few, from the oldest section on and from
// the newest one back. Requires: !options.compressed.
[[nodiscard]] Status check_not_compressed(Storage& storage,
                                          const IndexedValueSalvageOptions& options);
[[nodiscard]] Status check_not_compressed(Storage& storage, const IndexedValueLogOptions& options);

}  // namespace firn::journal
