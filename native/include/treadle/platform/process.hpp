// platform/process.hpp: who a process is, and whether it still lives.
//
// A process is (pid, start time): a bare pid is reused. A zombie is dead: it will never run another instruction. All
// of this reads /proc of the caller's own pid namespace; a process of another one has other pids and must not join.
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
    char state = 0;                // as in proc(5); 0: no such process
    std::int64_t threads = 0;
    std::uint64_t start_time = 0;  // clock ticks since boot
};

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
    stat.state = cursor[2];
    cursor += 3;
    for (int field = 4; field <= 22; ++field) {
        cursor = std::strchr(cursor, ' ');
        if (cursor == nullptr) return ProcessStat{};
        ++cursor;
        if (field == 20) stat.threads = std::strtoll(cursor, nullptr, 10);
        if (field == 22) stat.start_time = std::strtoull(cursor, nullptr, 10);
    }
    return stat;
}

// A leader that has left while other threads of its process run shows as a zombie too: it counts as alive.
inline bool is_running(const ProcessStat& stat) noexcept {
    if (stat.state == 0 || stat.state == 'X' || stat.state == 'x') return false;
    return stat.state != 'Z' || stat.threads > 1;
}

inline bool process_alive(std::int32_t pid, std::uint64_t start_time) noexcept {
    if (kill(pid, 0) != 0 && errno == ESRCH) return false;
    const ProcessStat stat = read_process_stat(pid);
    if (stat.state == 0) return access("/proc/self/stat", R_OK) != 0;  // no /proc to ask: a living pid is all we know
    return is_running(stat) && stat.start_time == start_time;
}

inline std::int32_t current_pid() noexcept { return static_cast<std::int32_t>(getpid()); }
inline std::int32_t current_tid() noexcept { return static_cast<std::int32_t>(syscall(SYS_gettid)); }

// Names this process's pid namespace; 0 where /proc does not tell.
inline std::uint64_t pid_namespace() noexcept {
    struct stat info {};
    return stat("/proc/self/ns/pid", &info) == 0 ? static_cast<std::uint64_t>(info.st_ino) : 0;
}

}  // namespace treadle::platform
