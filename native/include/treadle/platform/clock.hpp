// platform/clock.hpp: monotonic time, in nanoseconds. The same clock in every process of a machine.
#pragma once

#include <cstdint>
#include <ctime>

namespace treadle::platform {

inline std::int64_t now() noexcept {
    timespec t{};
    clock_gettime(CLOCK_MONOTONIC, &t);
    return static_cast<std::int64_t>(t.tv_sec) * 1'000'000'000 + t.tv_nsec;
}

// Up to a scheduler tick (1 to 4 ms) behind now(), for a third of its price: for "since when" and for throttles.
inline std::int64_t now_coarse() noexcept {
    timespec t{};
    clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    return static_cast<std::int64_t>(t.tv_sec) * 1'000'000'000 + t.tv_nsec;
}

}  // namespace treadle::platform
