// platform/process.hpp: who a process is, and whether it still lives.
//
// A process is (pid, birth), and birth is its start time and the image of its program: a bare pid is reused. A zombie is
// dead: it will never run another instruction; so is a program that an exec has replaced, though its process lives on. All
// of this reads /proc of the caller's own pid namespace; a process of another one has other pids and must not join.
//
//   birth  63..40 image, 0: not known | 39..0 start time, in clock ticks since boot
//
// The image is where the program and its stack lie in memory (mixed): the same after a fork, another after an exec, since
// the kernel lays out anew, at random. The system tells it to those who may trace the process; where it does not, or
// where that randomness is off, an exec goes unnoticed until the new program ends.
//
// Only a clear answer counts as death. Where the system cannot be asked (no descriptor left, no memory) a process lives:
// to wait a while longer harms nobody, to rob a living owner does.
#pragma once

#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace treadle::platform {

struct ProcessStat {
    char state = 0;  // as in proc(5); 0: /proc did not tell
    std::int64_t threads = 0;
    std::uint64_t birth = 0;
};

inline constexpr unsigned kImageShift = 40;
constexpr std::uint64_t make_birth(std::uint64_t start_time, std::uint64_t start_code, std::uint64_t start_stack) noexcept {
    std::uint64_t image = 0;
    if (start_code > 1 && start_stack > 1) {  // (to strangers the kernel says 0 or 1)
        image = ((start_code ^ (start_stack << 7)) * 0x9e37'79b9'7f4a'7c15u) >> kImageShift;
        if (image == 0) image = 1;
    }
    return (image << kImageShift) | (start_time & ((std::uint64_t{1} << kImageShift) - 1));
}
constexpr bool same_birth(std::uint64_t a, std::uint64_t b) noexcept {
    const std::uint64_t difference = a ^ b;
    const bool images_known = (a >> kImageShift) != 0 && (b >> kImageShift) != 0;
    return (images_known ? difference : difference << (64 - kImageShift)) == 0;
}

inline ProcessStat read_process_stat(std::int32_t pid) noexcept {
    ProcessStat stat;
    char path[32];
    std::snprintf(path, sizeof path, "/proc/%d/stat", static_cast<int>(pid));
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return stat;
    char text[1024];
    const ssize_t length = read(fd, text, sizeof text - 1);
    close(fd);
    if (length <= 0) return stat;
    text[length] = 0;
    // The second field is the command in parentheses and may itself hold blanks and parentheses.
    const char* cursor = std::strrchr(text, ')');
    if (cursor == nullptr || cursor[1] != ' ') return stat;
    const char state = cursor[2];
    std::uint64_t start_time = 0, start_code = 0, start_stack = 0;
    cursor += 3;
    for (int field = 4; field <= 28; ++field) {
        cursor = std::strchr(cursor, ' ');
        if (cursor == nullptr) return stat;
        ++cursor;
        if (field == 20) stat.threads = std::strtoll(cursor, nullptr, 10);
        if (field == 22) start_time = std::strtoull(cursor, nullptr, 10);
        if (field == 26) start_code = std::strtoull(cursor, nullptr, 10);
        if (field == 28) start_stack = std::strtoull(cursor, nullptr, 10);
    }
    stat.state = state;
    stat.birth = make_birth(start_time, start_code, start_stack);
    return stat;
}

// A leader that has left while other threads of its process run shows as a zombie too: it counts as alive.
inline bool is_running(const ProcessStat& stat) noexcept {
    if (stat.state == 'X' || stat.state == 'x') return false;
    return stat.state != 'Z' || stat.threads > 1;
}

inline bool pid_in_use(std::int32_t pid) noexcept { return kill(pid, 0) == 0 || errno != ESRCH; }

// Is there a process `pid` whose birth satisfies is_it()? Where /proc does not tell, a pid in use is all we know.
template <class IsIt>
bool process_alive(std::int32_t pid, IsIt is_it) noexcept {
    if (!pid_in_use(pid)) return false;
    const ProcessStat stat = read_process_stat(pid);
    if (stat.state == 0) return pid_in_use(pid);  // it may have gone in between
    return is_running(stat) && is_it(stat.birth);
}

inline std::int32_t current_pid() noexcept { return static_cast<std::int32_t>(getpid()); }
inline std::int32_t current_tid() noexcept { return static_cast<std::int32_t>(syscall(SYS_gettid)); }

// Names this process's pid and time namespaces, in which pids and births mean something; 0 where /proc does not tell.
inline std::uint64_t namespaces() noexcept {
    struct stat pids {}, times {};
    if (stat("/proc/self/ns/pid", &pids) != 0) return 0;
    if (stat("/proc/self/ns/time", &times) != 0) times.st_ino = 0;  // a kernel that has none
    return static_cast<std::uint64_t>(pids.st_ino) ^ (static_cast<std::uint64_t>(times.st_ino) << 32);
}

}  // namespace treadle::platform
