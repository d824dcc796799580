// map/plain_cells.hpp: values that fit in a cell of a list (list_layout.hpp): integers of 63 bits, most floats, and strings of
// up to seven bytes, whose meaning is their maker's.
//
//   ......x1   63..1 an integer, two's complement
//   .....s10   a float, rotated by three, without the highest two bits of its exponent: where that is between -255 and 256
//              they are 01 or 10, as the third is 1 or 0. s is the sign. One that would have no other bit is 0.0 instead.
//   00nnn100   63..8 a string of n bytes, the first lowest
//
// Floats: K. Sasada, "A lightweight representation of floating-point numbers on Ruby interpreter" (2008).
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

#include "list_layout.hpp"

namespace treadle::map {

inline constexpr std::uint32_t kLargestInCell = 7;
enum class PlainKind { integer, real, bytes };
constexpr PlainKind plain_kind(Cell cell) noexcept {
    return (cell & 1) != 0 ? PlainKind::integer : (cell & 2) != 0 ? PlainKind::real : PlainKind::bytes;
}

// 0: it does not fit, the rest.
constexpr Cell cell_of(std::int64_t number) noexcept {
    const Cell cell = (static_cast<std::uint64_t>(number) << 1) | 1;
    return static_cast<std::int64_t>(cell) >> 1 == number ? cell : 0;
}
constexpr std::int64_t integer_in(Cell cell) noexcept { return static_cast<std::int64_t>(cell) >> 1; }

inline constexpr Cell kZero = 0x8000'0000'0000'0002;
inline constexpr std::uint64_t kZerosPlace = 0x3000'0000'0000'0000;  // the float whose cell that would be
constexpr Cell cell_of(double real) noexcept {
    const auto bits = std::bit_cast<std::uint64_t>(real);
    if (bits == 0) return kZero;
    const std::uint64_t highest = (bits >> 60) & 7;  // of the exponent
    if ((highest != 3 && highest != 4) || bits == kZerosPlace) return 0;
    return (std::rotl(bits, 3) & ~Cell{3}) | 2;
}
constexpr double real_in(Cell cell) noexcept {
    if (cell == kZero) return 0;
    return std::bit_cast<double>(std::rotr((cell & ~Cell{3}) | (2 - (cell >> 63)), 3));
}

inline Cell cell_of(const char* bytes, std::uint32_t size) noexcept {
    if (size > kLargestInCell) return 0;
    Cell cell = (size << 3) | 4;
    std::memcpy(reinterpret_cast<char*>(&cell) + 1, bytes, size);
    return cell;
}
// Writes them to `out` (kLargestInCell); returns how many.
inline std::uint32_t bytes_in(Cell cell, char* out) noexcept {
    const std::uint32_t size = (cell >> 3) & 7;
    std::memcpy(out, reinterpret_cast<const char*>(&cell) + 1, size);
    return size;
}
static_assert(std::endian::native == std::endian::little);

}  // namespace treadle::map
