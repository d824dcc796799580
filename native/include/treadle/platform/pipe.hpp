// platform/pipe.hpp: anonymous pipes of the system as doorbells: one byte says "look again", and the end of all writers (or
// readers) says that nobody is left on the other side. Never blocks but in await_bell.
#pragma once

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include "clock.hpp"

namespace treadle::platform {

struct BellPipe {
    int read = -1, write = -1;
};

inline bool make_bell(BellPipe& bell) noexcept {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return false;
    bell = BellPipe{ends[0], ends[1]};
    return true;
}
inline void close_bell(int fd) noexcept {
    if (fd >= 0) close(fd);
}

// False: nobody is left to hear it. (A full pipe rings already.)
inline bool ring_bell(int write_end) noexcept {
    const char byte = 0;
    while (write(write_end, &byte, 1) < 0)
        if (errno != EINTR) return errno != EPIPE;
    return true;
}
// Rings a bell of which only the reading end is at hand. (To keep the other open would hide the other side's death.)
inline void ring_own_bell(int read_end) noexcept {
    char path[32];
    std::snprintf(path, sizeof path, "/proc/self/fd/%d", read_end);
    const int fd = open(path, O_WRONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return;
    ring_bell(fd);
    close(fd);
}
// Takes what is there; says whether there was anything.
inline bool silence_bell(int read_end) noexcept {
    char bytes[64];
    bool any = false;
    for (;;) {
        const ssize_t count = read(read_end, bytes, sizeof bytes);
        any = any || count > 0;
        if (count == static_cast<ssize_t>(sizeof bytes) || (count < 0 && errno == EINTR)) continue;
        return any;
    }
}
// Takes a byte that somebody is just about to write, unless he has died over it.
inline void take_ring(int read_end) noexcept {
    if (silence_bell(read_end)) return;
    pollfd bell{read_end, POLLIN, 0};
    if (poll(&bell, 1, 2) > 0) silence_bell(read_end);
}

// Has everybody gone who holds the reading end of this bell?
inline bool is_deserted(int write_end) noexcept {
    pollfd bell{write_end, 0, 0};
    return poll(&bell, 1, 0) > 0 && (bell.revents & POLLERR) != 0;
}

enum class BellWait { rung, deserted, timeout, interrupted };

// Sleeps until the bell rings, or nobody is left to hear `other`. `heed`: false waits for the latter alone. Of a process that
// is just ending the system may close the ends one by one: that nobody is left to ring only says to look again, so that
// the end of all is the same to who receives and who sends.
inline BellWait await_bell(int read_end, int other_write_end, std::int64_t nanoseconds, bool heed) noexcept {
    pollfd bells[2] = {{read_end, static_cast<short>(heed ? POLLIN : 0), 0}, {other_write_end, 0, 0}};
    timespec left{static_cast<time_t>(nanoseconds / 1'000'000'000), static_cast<long>(nanoseconds % 1'000'000'000)};
    const int found = ppoll(bells, 2, &left, nullptr);
    if (found < 0) return errno == EINTR ? BellWait::interrupted : BellWait::timeout;
    if ((bells[1].revents & POLLERR) != 0) return BellWait::deserted;
    return (bells[0].revents & POLLIN) != 0 ? BellWait::rung : BellWait::timeout;
}

}  // namespace treadle::platform
