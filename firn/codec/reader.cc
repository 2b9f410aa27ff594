// SPDX-License-Identifier: Apache-2.0
#include "firn/codec/reader.h"

#include "firn/base/text.h"

namespace firn {

Result<int32_t> ByteReader::read_i32() {
  TRY_INTO(const uint32_t value, read_u32());
  return static_cast<int32_t>(value);
}

Result<int64_t> ByteReader::read_i64() {
  TRY_INTO(const uint64_t value, read_u64());
  return static_cast<int64_t>(value);
}

Status ByteReader::read_bool(bool& value) {
  const size_t start = position_;
  TRY_INTO(const unsigned flag, read_u8());
  if (flag > 1) return corrupt_at(start, concat("expected a flag of 0 or 1, found ", flag));
  value = flag == 1;
  return {};
}

Result<ByteSpan> ByteReader::read_bytes(uint64_t size) {
  if (remaining() < size) return ends_before(size);
  const ByteSpan taken = bytes_.subspan(position_, static_cast<size_t>(size));
  position_ += taken.size();
  return taken;
}

Result<ByteSpan> ByteReader::read_sized_bytes(uint32_t max_size) {
  const size_t start = position_;
  TRY_INTO(const uint32_t size, read_varint<uint32_t>());
  if (size > max_size)
    return corrupt_at(start, concat("expected a length of at most ", max_size, ", found ", size));
  return read_bytes(size);
}

Status ByteReader::finish() const {
  if (remaining() != 0)
    return corrupt(concat("expected the end, found ", remaining(), " more bytes"));
  return {};
}

Result<uint64_t> ByteReader::read_varint_of(unsigned bits) {
  const VarintRead varint = firn::read_varint_of(bytes_.subspan(position_), bits);
  switch (varint.outcome) {
    case VarintOutcome::complete: position_ += varint.size; return varint.value;
    case VarintOutcome::truncated: return corrupt("the bytes end inside a varint");
    case VarintOutcome::malformed: break;
  }
  return corrupt(concat("expected a varint of ", bits, " bits in its shortest form"));
}

std::unexpected<Error> ByteReader::ends_before(uint64_t size) const {
  return corrupt(concat("expected ", size, " more bytes, found ", remaining()));
}

std::unexpected<Error> ByteReader::corrupt_at(size_t offset, std::string_view reason) const {
  return fail(Errc::corrupt, concat(what_, ", byte ", offset, ": ", reason));
}

}  // namespace firn
