// SPDX-License-Identifier: Apache-2.0
//
// ByteReader: takes values from the front of bytes that may be damaged or hostile. It never reads
// past their end and never allocates; what it cannot accept is Errc::corrupt, with the offset at
// which the offending value starts. After a failure the position is unspecified: give up.
#pragma once

#include <concepts>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

#include "firn/base/bytes.h"
#include "firn/base/endian.h"
#include "firn/base/result.h"
#include "firn/codec/varint.h"

namespace firn {

class ByteReader {
 public:
  // `what` names the record in error messages ("freezer checkpoint"). Both arguments must outlive
  // the reader and the spans that it returns.
  explicit ByteReader(ByteSpan bytes, std::string_view what = "record")
      : bytes_(bytes), what_(what) {}

  [[nodiscard]] size_t position() const { return position_; }
  [[nodiscard]] size_t remaining() const { return bytes_.size() - position_; }

  [[nodiscard]] Result<uint8_t> read_u8() { return read_fixed<uint8_t>(); }
  [[nodiscard]] Result<uint16_t> read_u16() { return read_fixed<uint16_t>(); }
  [[nodiscard]] Result<uint32_t> read_u32() { return read_fixed<uint32_t>(); }
  [[nodiscard]] Result<uint64_t> read_u64() { return read_fixed<uint64_t>(); }
  [[nodiscard]] Result<int32_t> read_i32();
  [[nodiscard]] Result<int64_t> read_i64();

  // Sets `value`. Only the bytes 0 and 1 are a bool.
  [[nodiscard]] Status read_bool(bool& value);

  // A view of the next `size` bytes.
  [[nodiscard]] Result<ByteSpan> read_bytes(uint64_t size);

  template <VarintInteger T>
  [[nodiscard]] Result<T> read_varint() {
    TRY_INTO(const uint64_t value, read_varint_of(std::numeric_limits<T>::digits));
    return static_cast<T>(value);
  }

  // A zig-zagged varint. T is int16_t, int32_t or int64_t.
  template <std::signed_integral T>
    requires VarintInteger<std::make_unsigned_t<T>>
  [[nodiscard]] Result<T> read_signed_varint() {
    TRY_INTO(const auto value, read_varint<std::make_unsigned_t<T>>());
    return undo_zig_zag(value);
  }

  // A varint length of at most `max_size`, then a view of so many bytes.
  [[nodiscard]] Result<ByteSpan> read_sized_bytes(uint32_t max_size);

  // A bool, then, if it is true, what `read` reads: a callable that returns Result<T>.
  template <std::invocable Read>
  [[nodiscard]] auto read_option(Read read)
      -> Result<std::optional<typename std::invoke_result_t<Read>::value_type>> {
    using Option = std::optional<typename std::invoke_result_t<Read>::value_type>;
    bool is_present = false;
    TRY(read_bool(is_present));
    if (!is_present) return Option();
    TRY_INTO(auto value, std::invoke(read));
    return Option(std::move(value));
  }

  // Fails if bytes are left over: a record fills its bytes exactly.
  [[nodiscard]] Status finish() const;

  // A failure that names the record and the current offset, for checks that callers add.
  [[nodiscard]] std::unexpected<Error> corrupt(std::string_view reason) const {
    return corrupt_at(position_, reason);
  }

 private:
  template <std::unsigned_integral T>
  [[nodiscard]] Result<T> read_fixed() {
    if (remaining() < sizeof(T)) [[unlikely]]
      return ends_before(sizeof(T));
    const T value = load_big_endian<T>(bytes_.data() + position_);
    position_ += sizeof(T);
    return value;
  }

  [[nodiscard]] Result<uint64_t> read_varint_of(unsigned bits);
  [[nodiscard]] std::unexpected<Error> ends_before(uint64_t size) const;
  [[nodiscard]] std::unexpected<Error> corrupt_at(size_t offset, std::string_view reason) const;

  ByteSpan bytes_;
  std::string_view what_;
  size_t position_ = 0;
};

}  // namespace firn
