// platform/named_file.hpp: a file by which a user's programs meet: opened so that nobody else can be behind it, and the
// kernel's locks that say who has it open.
//
// The locks are those of open file descriptions (F_OFD_SETLK): a child of fork shares its parent's, an exec ends them, and
// so does every kind of death. A lock on a byte beyond the file's end concerns nobody's data.
#pragma once

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "memory.hpp"

namespace treadle::platform {

// Why a file was not opened.
enum class Refusal : int {
    none,
    absent,
    symbolic_link,
    not_regular,
    foreign,      // not the effective user's
    exposed,      // its mode lets others in
    hard_linked,  // it has another name, too
    system,       // `error` says
};
struct Refused {
    Refusal why = Refusal::none;
    int error = 0;  // errno
};

// Opens the file for reading and writing; never waits, follows no link, and refuses what another user could be behind.
// `make`: a new, empty one if there is none. -1: see `refused`.
inline int open_own_file(const char* path, bool make, Refused& refused) noexcept {
    Refusal& refusal = refused.why;
    constexpr int kFlags = O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
    for (;;) {
        refusal = Refusal::none;
        const int found = open(path, kFlags);
        const int fd = above_streams(found);
        if (fd < 0) {
            struct stat info {};
            if (found >= 0) refusal = Refusal::system;
            else if (errno == EINTR) continue;
            else if (errno == ELOOP) refusal = Refusal::symbolic_link;
            else if (errno == EACCES && lstat(path, &info) == 0 && info.st_uid != geteuid()) refusal = Refusal::foreign;
            else if (errno == EISDIR || errno == ENXIO) refusal = Refusal::not_regular;
            else if (errno != ENOENT) refusal = Refusal::system;
            else if (!make) refusal = Refusal::absent;
            refused.error = errno;
            if (refusal != Refusal::none) return -1;
            const int made = open(path, kFlags | O_CREAT | O_EXCL, 0600);
            if (made < 0 && errno != EEXIST && errno != EINTR) {
                refused = {Refusal::system, errno};
                return -1;
            }
            if (made >= 0) {
                fchmod(made, 0600);  // whatever the umask has taken away
                close(made);
            }
            continue;
        }
        struct stat info {};
        if (fstat(fd, &info) != 0) refusal = Refusal::system;
        else if (!S_ISREG(info.st_mode)) refusal = Refusal::not_regular;
        else if (info.st_uid != geteuid()) refusal = Refusal::foreign;
        else if ((info.st_mode & 077) != 0) refusal = Refusal::exposed;
        else if (info.st_nlink > 1) refusal = Refusal::hard_linked;
        refused.error = errno;
        if (refusal == Refusal::none && info.st_nlink == 1) return fd;
        close(fd);
        if (refusal != Refusal::none) return -1;
        // It was removed meanwhile: once more.
    }
}

// Does the path (still) lead to the file that is open here? Of many openers and removers the last word is the path's.
inline bool leads_to(const char* path, const FileIdentity& file) noexcept {
    struct stat info {};
    return lstat(path, &info) == 0 &&
           FileIdentity{static_cast<std::uint64_t>(info.st_dev), static_cast<std::uint64_t>(info.st_ino)} == file;
}

// The path of an open file, as this process sees it. False: not to be had.
inline bool path_of_file(int fd, char* path, std::size_t room) noexcept {
    char link[32];
    std::snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    const ssize_t length = readlink(link, path, room - 1);
    if (length <= 0 || static_cast<std::size_t>(length) >= room - 1) return false;
    path[length] = 0;
    return true;
}

inline bool remove_path(const char* path) noexcept { return unlink(path) == 0; }

// All zeroes, of that size.
inline bool reset_file(int fd, std::uint64_t bytes) noexcept {
    return ftruncate(fd, 0) == 0 && ftruncate(fd, static_cast<off_t>(bytes)) == 0;
}

enum class ByteLock : short { shared = F_RDLCK, exclusive = F_WRLCK, none = F_UNLCK };
enum class Locked : int { done, busy, interrupted, failed };

// Locks a byte through this descriptor's open file description, or gives the lock back.
inline Locked set_lock(int fd, std::uint64_t position, ByteLock kind, bool wait) noexcept {
    struct flock lock {};
    lock.l_type = static_cast<short>(kind);
    lock.l_whence = SEEK_SET;
    lock.l_start = static_cast<off_t>(position);
    lock.l_len = 1;
    if (fcntl(fd, wait ? F_OFD_SETLKW : F_OFD_SETLK, &lock) == 0) return Locked::done;
    if (errno == EAGAIN || errno == EACCES) return Locked::busy;
    return errno == EINTR ? Locked::interrupted : Locked::failed;
}

// Names the machine's current boot. 0: this cannot be told now, for want of a descriptor perhaps. (A machine that never
// tells is taken to have been booted once.)
inline std::uint64_t current_boot() noexcept {
    char text[64];
    int fd;
    do fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    while (fd < 0 && errno == EINTR);
    if (fd < 0 && errno != ENOENT && errno != EACCES && errno != EPERM) return 0;
    const ssize_t length = fd < 0 ? 0 : read(fd, text, sizeof text);
    if (fd >= 0) close(fd);
    std::uint64_t boot = 14695981039346656037u;  // FNV-1a
    for (ssize_t i = 0; i < length; ++i) boot = (boot ^ static_cast<unsigned char>(text[i])) * 1099511628211u;
    return boot | 1;
}

}  // namespace treadle::platform
