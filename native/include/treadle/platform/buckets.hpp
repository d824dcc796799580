// platform/buckets.hpp: which of a fixed number of buckets a futex word falls into, for what is kept by word.
#pragma once

#include <cstdint>

namespace treadle::platform {

inline constexpr std::uint32_t kBuckets = 512;

// Fibonacci hashing: the upper bits of a product (Knuth, TAOCP 3, 6.4). `place`: an address, or an offset in an arena.
constexpr std::uint32_t bucket_of(std::uint64_t place) noexcept {
    return static_cast<std::uint32_t>(((place >> 2) * 0x9e37'79b9'7f4a'7c15u) >> 55);
}
static_assert(bucket_of(~std::uint64_t{0}) < kBuckets);

}  // namespace treadle::platform
