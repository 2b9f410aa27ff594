// SPDX-License-Identifier: Apache-2.0
#include "firn/codec/varint.h"

#include <limits>
#include <string_view>

#include <gtest/gtest.h>

#include "firn/base/random.h"
#include "firn/codec/codec_test_support.h"

namespace firn {
namespace {

using codec::bytes_of_hex;

std::string form_of(uint64_t value) {
  std::array<std::byte, kMaxVarintSize<uint64_t>> form;
  return to_hex(ByteSpan(form).first(store_varint(form, value)));
}

template <VarintInteger T>
VarintOutcome outcome_of(std::string_view hex) {
  return read_varint<T>(bytes_of_hex(hex)).outcome;
}

TEST(Varint, GivenKnownNumbers_WhenStored_ThenTheFormIsTheKnownOne) {
  EXPECT_EQ(form_of(0), "00");
  EXPECT_EQ(form_of(127), "7f");
  EXPECT_EQ(form_of(128), "8001");
  EXPECT_EQ(form_of(300), "ac02");
  EXPECT_EQ(form_of(zig_zag(int32_t{-3})), "05");
  EXPECT_EQ(form_of(std::numeric_limits<uint16_t>::max()), "ffff03");
  EXPECT_EQ(form_of(std::numeric_limits<uint32_t>::max()), "ffffffff0f");
  EXPECT_EQ(form_of(std::numeric_limits<uint64_t>::max()), "ffffffffffffffffff01");
}

template <VarintInteger T>
void expect_round_trip(T value) {
  std::array<std::byte, kMaxVarintSize<uint64_t>> form{};
  const size_t size = store_varint(form, value);

  EXPECT_EQ(size, varint_size(value)) << value;
  EXPECT_LE(size, kMaxVarintSize<T>) << value;
  // With what follows in the array, and with nothing following.
  for (const size_t available : {form.size(), size}) {
    const VarintRead read = read_varint<T>(ByteSpan(form).first(available));
    EXPECT_EQ(read.outcome, VarintOutcome::complete) << value;
    EXPECT_EQ(read.value, value);
    EXPECT_EQ(read.size, size) << value;
  }
  for (size_t cut = 0; cut < size; ++cut)
    EXPECT_EQ(read_varint<T>(ByteSpan(form).first(cut)).outcome, VarintOutcome::truncated)
        << value << " cut to " << cut;
}

TEST(Varint, GivenNumbersOfAllMagnitudes_WhenStoredAndRead_ThenTheyAreUnchanged) {
  for (unsigned bit = 0; bit < 64; ++bit) {
    for (const uint64_t value : {(uint64_t{1} << bit) - 1, uint64_t{1} << bit, ~uint64_t{0} >> bit,
                                 (uint64_t{1} << bit) + 1}) {
      expect_round_trip<uint16_t>(static_cast<uint16_t>(value));
      expect_round_trip<uint32_t>(static_cast<uint32_t>(value));
      expect_round_trip<uint64_t>(value);
    }
  }
}

TEST(Varint, GivenZerosThatLengthenANumber_WhenRead_ThenTheFormIsMalformed) {
  for (const char* hex : {"8000", "ff00", "808000", "ac8200"}) {
    EXPECT_EQ(outcome_of<uint16_t>(hex), VarintOutcome::malformed) << hex;
    EXPECT_EQ(outcome_of<uint32_t>(hex), VarintOutcome::malformed) << hex;
    EXPECT_EQ(outcome_of<uint64_t>(hex), VarintOutcome::malformed) << hex;
  }
  EXPECT_EQ(outcome_of<uint64_t>("80808080808080808000"), VarintOutcome::malformed);
}

TEST(Varint, GivenNumbersJustBeyondTheType_WhenRead_ThenTheFormIsMalformed) {
  EXPECT_EQ(outcome_of<uint16_t>("808004"), VarintOutcome::malformed);
  EXPECT_EQ(outcome_of<uint16_t>("ffff07"), VarintOutcome::malformed);
  EXPECT_EQ(outcome_of<uint32_t>("8080808010"), VarintOutcome::malformed);
  EXPECT_EQ(outcome_of<uint32_t>("ffffffff1f"), VarintOutcome::malformed);
  EXPECT_EQ(outcome_of<uint64_t>("80808080808080808002"), VarintOutcome::malformed);
  EXPECT_EQ(outcome_of<uint64_t>("ffffffffffffffffff03"), VarintOutcome::malformed);
}

TEST(Varint, GivenAContinuedLastByte_WhenRead_ThenTheFormIsMalformedWithoutReadingOn) {
  EXPECT_EQ(outcome_of<uint16_t>("ffff83"), VarintOutcome::malformed);
  EXPECT_EQ(outcome_of<uint32_t>("ffffffff8f"), VarintOutcome::malformed);
  EXPECT_EQ(outcome_of<uint64_t>("ffffffffffffffffff81"), VarintOutcome::malformed);
  EXPECT_EQ(outcome_of<uint64_t>("ffffffffffffffffffffffff"), VarintOutcome::malformed);
}

TEST(Varint, GivenRandomBytes_WhenReadAsAVarint_ThenWhatIsAcceptedIsTheOneFormOfItsNumber) {
  Random random(11);
  int accepted = 0;
  for (int round = 0; round < 20000; ++round) {
    Bytes bytes = random.bytes(12);
    for (size_t i = 0, continued = random.below(12); i < continued; ++i)
      bytes[i] |= std::byte{0x80};

    const VarintRead read = read_varint<uint64_t>(bytes);

    if (read.outcome != VarintOutcome::complete) continue;
    ++accepted;
    EXPECT_EQ(form_of(read.value), to_hex(ByteSpan(bytes).first(read.size)));
  }
  EXPECT_GT(accepted, 10000);
}

TEST(Varint, GivenSignedNumbers_WhenZigZagged_ThenSmallMagnitudesStaySmallAndEndsAreExact) {
  EXPECT_EQ(zig_zag(int16_t{0}), 0u);
  EXPECT_EQ(zig_zag(int16_t{-1}), 1u);
  EXPECT_EQ(zig_zag(int32_t{1}), 2u);
  EXPECT_EQ(zig_zag(std::numeric_limits<int16_t>::min()), std::numeric_limits<uint16_t>::max());
  EXPECT_EQ(zig_zag(std::numeric_limits<int64_t>::max()), std::numeric_limits<uint64_t>::max() - 1);
  for (int value = std::numeric_limits<int16_t>::min(); value <= 32767; ++value) {
    const auto number = static_cast<int16_t>(value);
    EXPECT_EQ(undo_zig_zag(zig_zag(number)), number);
    EXPECT_EQ(zig_zag(int64_t{value}), zig_zag(number));
  }
  for (const int64_t value : {std::numeric_limits<int64_t>::min(), int64_t{-1}, int64_t{0},
                              std::numeric_limits<int64_t>::max()})
    EXPECT_EQ(undo_zig_zag(zig_zag(value)), value);
}

}  // namespace
}  // namespace firn
