// platform/bell_file.hpp: doorbells (platform/pipe.hpp) that have a path: named pipes of the file system, for programs that
// know nothing else of each other. Never waits, follows no link, and refuses what another user could be behind.
//
// One path leads to one pipe for as long as it is there. So it is removed only once nobody can be about to open it.
#pragma once

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "named_file.hpp"

namespace treadle::platform {

enum class BellEnd : int { hears = O_RDONLY, rings = O_WRONLY };

// Opens that end of the pipe; makes one if there is none. -1: see `refused`. To open the end that rings, where nobody hears
// yet, the other must be open for an instant.
inline int open_bell_file(const char* path, BellEnd end, Refused& refused) noexcept {
    constexpr int kFlags = O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
    int hearing = -1;
    for (;;) {
        refused = {};
        const int found = open(path, static_cast<int>(end) | kFlags);
        const int fd = above_streams(found);
        if (fd < 0) {
            struct stat info {};
            const int error = errno;
            if (found < 0 && error == EINTR) continue;
            if (found < 0 && error == ENOENT && (mkfifo(path, 0600) == 0 || errno == EEXIST)) continue;
            if (found < 0 && error == ENXIO && hearing < 0 && lstat(path, &info) == 0 && S_ISFIFO(info.st_mode)) {
                hearing = open_bell_file(path, BellEnd::hears, refused);
                if (hearing < 0) return -1;
                continue;
            }
            if (error == ELOOP) refused.why = Refusal::symbolic_link;
            else if (error == EACCES && lstat(path, &info) == 0 && info.st_uid != geteuid()) refused.why = Refusal::foreign;
            else refused.why = Refusal::system;
            refused.error = error;
        } else {
            struct stat info {};
            if (fstat(fd, &info) != 0) refused = {Refusal::system, errno};
            else if (info.st_nlink == 0) {  // removed meanwhile, by hand
                close(fd);
                continue;
            }
            else if (!S_ISFIFO(info.st_mode)) refused.why = Refusal::not_regular;
            else if (info.st_uid != geteuid()) refused.why = Refusal::foreign;
            else if ((info.st_mode & 077) != 0) refused.why = Refusal::exposed;
            else if (info.st_nlink > 1) refused.why = Refusal::hard_linked;
        }
        if (hearing >= 0) close(hearing);
        if (refused.why == Refusal::none) return fd;
        if (fd >= 0) close(fd);
        return -1;
    }
}

// Somebody has rung here and gone, whom nobody heard: a selector sees the end of all then.
inline void touch_bell_file(const char* path) noexcept {
    const int fd = open(path, O_WRONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd >= 0) close(fd);
}

// Removes the pipes in the folder of `path` whose names begin with that of `path`, and of which `useless(rest)` is true.
template <class Useless>
void remove_bell_files(const char* path, Useless useless) noexcept {
    const char* slash = std::strrchr(path, '/');
    if (slash == nullptr) return;
    char folder[4096];
    const std::size_t length = slash == path ? 1 : static_cast<std::size_t>(slash - path);
    if (length >= sizeof folder) return;
    std::memcpy(folder, path, length);
    folder[length] = 0;
    DIR* entries = opendir(folder);
    if (entries == nullptr) return;
    const std::size_t common = std::strlen(slash + 1);
    while (const dirent* entry = readdir(entries)) {
        struct stat info {};
        if (std::strncmp(entry->d_name, slash + 1, common) != 0 || !useless(entry->d_name + common)) continue;
        if (fstatat(dirfd(entries), entry->d_name, &info, AT_SYMLINK_NOFOLLOW) == 0 && S_ISFIFO(info.st_mode))
            unlinkat(dirfd(entries), entry->d_name, 0);
    }
    closedir(entries);
}

}  // namespace treadle::platform
