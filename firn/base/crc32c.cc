// SPDX-License-Identifier: Apache-2.0
#include "firn/base/crc32c.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>

#include <isa-l/crc.h>

#include "firn/base/check.h"
#include "firn/base/crc32c_implementation.h"
#include "firn/base/endian.h"
#include "firn/base/units.h"

#if defined(__x86_64__)
#include <nmmintrin.h>
#include <wmmintrin.h>
#elif defined(__aarch64__) && defined(__ARM_FEATURE_CRC32)
#include <arm_acle.h>
#endif

namespace firn {
namespace {

// Below this many bytes the call into ISA-L costs more than it saves.
constexpr size_t kIsalFromBytes = 256;
// Below this many bytes one stream is as fast as three.
constexpr size_t kStreamsFromBytes = 72;

// ISA-L counts bytes with an int.
constexpr size_t kIsalMaxBytes = kGiB;

// Polynomials are bit-reversed: bit 31 is the coefficient of x^0, bit 0 that of x^31.
constexpr uint32_t kPolynomial = 0x82F63B78;
constexpr uint32_t kOne = 0x80000000;

constexpr uint32_t times_x(uint32_t a) {
  return (a >> 1) ^ ((a & 1) != 0 ? kPolynomial : 0);
}

constexpr uint32_t divided_by_x(uint32_t a) {
  return (a & kOne) != 0 ? ((a ^ kPolynomial) << 1 | 1) : a << 1;
}

constexpr uint32_t multiply(uint32_t a, uint32_t b) {
  uint32_t product = 0;
  for (; a != 0; a <<= 1) {
    if ((a & kOne) != 0) product ^= b;
    b = times_x(b);
  }
  return product;
}

using ByteTable = std::array<uint32_t, 256>;

// kSlices[k][b]: the linear state after byte b and then k zero bytes.
constexpr std::array<ByteTable, 8> make_slices() {
  std::array<ByteTable, 8> slices{};
  for (uint32_t b = 0; b < 256; ++b) {
    uint32_t state = b;
    for (int bit = 0; bit < 8; ++bit)
      state = times_x(state);
    slices[0][b] = state;
  }
  for (size_t k = 1; k < slices.size(); ++k) {
    for (size_t b = 0; b < 256; ++b) {
      const uint32_t previous = slices[k - 1][b];
      slices[k][b] = (previous >> 8) ^ slices[0][previous & 0xFF];
    }
  }
  return slices;
}

constexpr std::array<ByteTable, 8> kSlices = make_slices();

// kShifts[k][d]: x^(8 * d * 256^k - 33) for d > 0. The carry-less product of two reversed 32-bit
// polynomials, read as eight message bytes, is x times their product; feeding those bytes to a CRC
// that is 0 multiplies by x^32 more. The exponents make up for these 33.
constexpr std::array<ByteTable, 8> make_shifts() {
  std::array<ByteTable, 8> shifts{};
  uint32_t start = kOne;
  for (int i = 0; i < 33; ++i)
    start = divided_by_x(start);
  uint32_t base = kOne;
  for (int i = 0; i < 8; ++i)
    base = times_x(base);
  for (ByteTable& table : shifts) {
    table[0] = start;
    for (size_t d = 1; d < 256; ++d)
      table[d] = multiply(table[d - 1], base);
    for (int i = 0; i < 8; ++i)
      base = multiply(base, base);
  }
  return shifts;
}

constexpr std::array<ByteTable, 8> kShifts = make_shifts();

uint32_t portable_step(uint32_t state, uint64_t eight_bytes) {
  const uint64_t mixed = eight_bytes ^ state;
  const auto slice = [mixed](size_t i) { return kSlices[7 - i][(mixed >> (8 * i)) & 0xFF]; };
  return (slice(0) ^ slice(1)) ^ (slice(2) ^ slice(3)) ^ (slice(4) ^ slice(5)) ^
         (slice(6) ^ slice(7));
}

uint32_t extend_portable(uint32_t crc, ByteSpan bytes) {
  const std::byte* next = bytes.data();
  size_t left = bytes.size();
  uint32_t state = ~crc;
  for (; left >= 8; next += 8, left -= 8)
    state = portable_step(state, load_little_endian<uint64_t>(next));
  for (; left > 0; ++next, --left)
    state = (state >> 8) ^ kSlices[0][(state ^ std::to_integer<uint32_t>(*next)) & 0xFF];
  return ~state;
}

uint64_t multiply_without_carry(uint32_t a, uint32_t b) {
  uint64_t product = 0;
  for (unsigned bit = 0; bit < 32; ++bit) {
    const uint64_t mask = 0 - (uint64_t{b >> bit} & 1);
    product ^= (uint64_t{a} << bit) & mask;
  }
  return product;
}

uint32_t shift_portable(uint32_t difference, uint64_t zeros) {
  for (size_t k = 0; zeros != 0; ++k, zeros >>= 8) {
    const size_t digit = zeros & 0xFF;
    if (digit != 0)
      difference = portable_step(0, multiply_without_carry(difference, kShifts[k][digit]));
  }
  return difference;
}

#if defined(__x86_64__)

bool has_hardware() {
  return __builtin_cpu_supports("sse4.2") != 0 && __builtin_cpu_supports("pclmul") != 0;
}

__attribute__((target("sse4.2"))) uint32_t extend_hardware(uint32_t crc, ByteSpan bytes) {
  const std::byte* next = bytes.data();
  const size_t size = bytes.size();
  uint64_t wide = static_cast<uint32_t>(~crc);
  for (const std::byte* end = next + size / 8 * 8; next != end; next += 8)
    wide = _mm_crc32_u64(wide, load_little_endian<uint64_t>(next));
  auto state = static_cast<uint32_t>(wide);
  if ((size & 4) != 0) {
    state = _mm_crc32_u32(state, load_little_endian<uint32_t>(next));
    next += 4;
  }
  if ((size & 2) != 0) {
    state = _mm_crc32_u16(state, load_little_endian<uint16_t>(next));
    next += 2;
  }
  if ((size & 1) != 0) state = _mm_crc32_u8(state, std::to_integer<uint8_t>(*next));
  return ~state;
}

// The product that a state becomes behind so many zero bytes, not yet reduced.
__attribute__((target("sse4.2,pclmul"))) __m128i multiply_hardware(uint32_t state, size_t zeros,
                                                                   size_t table = 0) {
  return _mm_clmulepi64_si128(_mm_cvtsi64_si128(state), _mm_cvtsi64_si128(kShifts[table][zeros]),
                              0);
}

// extend_hardware for kStreamsFromBytes to kIsalFromBytes - 1 bytes: thirds beside each other, as
// each step of a stream waits three cycles for the one before. Then each state moves behind what
// follows it.
__attribute__((target("sse4.2,pclmul"))) uint32_t extend_streams(uint32_t crc, ByteSpan bytes) {
  static_assert(kIsalFromBytes <= kShifts[0].size(), "two thirds are one digit of kShifts");
  const size_t third = bytes.size() / 24 * 8;
  const std::byte* const next = bytes.data();
  uint64_t first = static_cast<uint32_t>(~crc);
  uint64_t second = 0;
  uint64_t last = 0;
  for (size_t at = 0; at < third; at += 8) {
    first = _mm_crc32_u64(first, load_little_endian<uint64_t>(next + at));
    second = _mm_crc32_u64(second, load_little_endian<uint64_t>(next + third + at));
    last = _mm_crc32_u64(last, load_little_endian<uint64_t>(next + 2 * third + at));
  }
  const __m128i both = _mm_xor_si128(multiply_hardware(static_cast<uint32_t>(first), 2 * third),
                                     multiply_hardware(static_cast<uint32_t>(second), third));
  const auto product = static_cast<uint64_t>(_mm_cvtsi128_si64(both));
  const uint64_t state = _mm_crc32_u64(0, product) ^ last;
  return extend_hardware(~static_cast<uint32_t>(state), bytes.subspan(3 * third));
}

__attribute__((target("sse4.2,pclmul"))) uint32_t shift_hardware(uint32_t difference,
                                                                 uint64_t zeros) {
  for (size_t k = 0; zeros != 0; ++k, zeros >>= 8) {
    const size_t digit = zeros & 0xFF;
    if (digit == 0) continue;
    const __m128i product = multiply_hardware(difference, digit, k);
    const auto eight_bytes = static_cast<uint64_t>(_mm_cvtsi128_si64(product));
    difference = static_cast<uint32_t>(_mm_crc32_u64(0, eight_bytes));
  }
  return difference;
}

#elif defined(__aarch64__) && defined(__ARM_FEATURE_CRC32)

bool has_hardware() {
  return true;
}

uint32_t extend_hardware(uint32_t crc, ByteSpan bytes) {
  const std::byte* next = bytes.data();
  size_t left = bytes.size();
  uint32_t state = ~crc;
  for (; left >= 8; next += 8, left -= 8)
    state = __crc32cd(state, load_little_endian<uint64_t>(next));
  for (; left > 0; ++next, --left)
    state = __crc32cb(state, std::to_integer<uint8_t>(*next));
  return ~state;
}

uint32_t extend_streams(uint32_t crc, ByteSpan bytes) {
  return extend_hardware(crc, bytes);
}

uint32_t shift_hardware(uint32_t difference, uint64_t zeros) {
  for (size_t k = 0; zeros != 0; ++k, zeros >>= 8) {
    const size_t digit = zeros & 0xFF;
    if (digit != 0)
      difference = __crc32cd(0, multiply_without_carry(difference, kShifts[k][digit]));
  }
  return difference;
}

#else

bool has_hardware() {
  return false;
}
uint32_t extend_hardware(uint32_t crc, ByteSpan bytes) {
  return extend_portable(crc, bytes);
}
uint32_t extend_streams(uint32_t crc, ByteSpan bytes) {
  return extend_portable(crc, bytes);
}
uint32_t shift_hardware(uint32_t difference, uint64_t zeros) {
  return shift_portable(difference, zeros);
}

#endif

// ISA-L neither inverts the state nor writes to the buffer, although it asks for a mutable one.
uint32_t extend_isal(uint32_t crc, ByteSpan bytes) {
  uint32_t state = ~crc;
  while (!bytes.empty()) {
    const ByteSpan part = bytes.first(std::min(bytes.size(), kIsalMaxBytes));
    auto* data = const_cast<unsigned char*>(reinterpret_cast<const unsigned char*>(part.data()));
    state = crc32_iscsi(data, static_cast<int>(part.size()), state);
    bytes = bytes.subspan(part.size());
  }
  return ~state;
}

// What extend_crc32c does: a plain value, so that a short input costs one predictable branch and
// one direct call. It starts out unresolved instead of being computed by a static constructor,
// because other static constructors may need checksums earlier.
enum class Route : uint8_t { unresolved, automatic_hardware, automatic_portable, forced };

std::atomic<Route> current_route{Route::unresolved};

Crc32cImplementation forced_implementation() {
  static const Crc32cImplementation chosen = choose_crc32c(std::getenv("FIRN_CRC32C"));
  return chosen;
}

Route resolve_route() {
  Route route = Route::forced;
  if (forced_implementation() == Crc32cImplementation::automatic)
    route = has_hardware() ? Route::automatic_hardware : Route::automatic_portable;
  current_route.store(route, std::memory_order_relaxed);
  return route;
}

uint32_t extend_automatically(Route route, uint32_t crc, ByteSpan bytes) {
  if (bytes.size() >= kIsalFromBytes) return extend_isal(crc, bytes);
  if (route == Route::automatic_portable) return extend_portable(crc, bytes);
  return bytes.size() >= kStreamsFromBytes ? extend_streams(crc, bytes)
                                           : extend_hardware(crc, bytes);
}

// Kept out of line, so that the usual route has no registers to save.
__attribute__((noinline)) uint32_t extend_unusually(uint32_t crc, ByteSpan bytes) {
  const Route route = resolve_route();
  if (route == Route::forced) return extend_crc32c_with(forced_implementation(), crc, bytes);
  return extend_automatically(route, crc, bytes);
}

}  // namespace

uint32_t extend_crc32c(uint32_t crc, ByteSpan bytes) {
  const Route route = current_route.load(std::memory_order_relaxed);
  if (route == Route::automatic_hardware) [[likely]]
    return extend_automatically(route, crc, bytes);
  return extend_unusually(crc, bytes);
}

uint32_t shift_crc32c(uint32_t difference, uint64_t zeros) {
  Route route = current_route.load(std::memory_order_relaxed);
  if (route == Route::unresolved) [[unlikely]]
    route = resolve_route();
  const bool is_hardware =
      route == Route::automatic_hardware ||
      (route == Route::forced && forced_implementation() == Crc32cImplementation::hardware);
  return is_hardware ? shift_hardware(difference, zeros) : shift_portable(difference, zeros);
}

std::optional<Crc32cImplementation> crc32c_implementation_named(std::string_view name) {
  if (name == "automatic") return Crc32cImplementation::automatic;
  if (name == "portable") return Crc32cImplementation::portable;
  if (name == "hardware") return Crc32cImplementation::hardware;
  if (name == "isal") return Crc32cImplementation::isal;
  return std::nullopt;
}

bool is_crc32c_supported(Crc32cImplementation implementation) {
  return implementation != Crc32cImplementation::hardware || has_hardware();
}

Crc32cImplementation choose_crc32c(const char* environment_value) {
  if (environment_value == nullptr) return Crc32cImplementation::automatic;
  const auto named = crc32c_implementation_named(environment_value);
  if (!named || !is_crc32c_supported(*named)) return Crc32cImplementation::automatic;
  return *named;
}

uint32_t extend_crc32c_with(Crc32cImplementation implementation, uint32_t crc, ByteSpan bytes) {
  CHECK(is_crc32c_supported(implementation), "this processor can run the asked implementation");
  switch (implementation) {
    case Crc32cImplementation::automatic: return extend_crc32c(crc, bytes);
    case Crc32cImplementation::portable: return extend_portable(crc, bytes);
    case Crc32cImplementation::hardware: return extend_hardware(crc, bytes);
    case Crc32cImplementation::isal: return extend_isal(crc, bytes);
  }
  UNREACHABLE("every implementation has its case");
}

uint32_t shift_crc32c_with(Crc32cImplementation implementation, uint32_t difference,
                           uint64_t zeros) {
  CHECK(is_crc32c_supported(implementation), "this processor can run the asked implementation");
  return implementation == Crc32cImplementation::hardware ? shift_hardware(difference, zeros)
                                                          : shift_portable(difference, zeros);
}

}  // namespace firn
