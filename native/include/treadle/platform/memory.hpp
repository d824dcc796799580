// platform/memory.hpp: memory files, their mapping, and the reservation of pages before use.
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/memfd.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace treadle::platform {

inline void close_file(int fd) noexcept { close(fd); }

// The descriptor, moved out of the place of a standard stream that is closed: what a library prints there would go into
// the file. -1 as well if that cannot be; then it is closed.
inline int above_streams(int fd) noexcept {
    if (fd < 0 || fd > 2) return fd;
    const int moved = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    close_file(fd);
    return moved;
}

// A memory file of that size for ever: whoever can open it could else cut it short under the feet of the others (SIGBUS).
inline int create_memory_file(const char* name, std::uint64_t bytes) noexcept {
    const int fd = above_streams(static_cast<int>(syscall(SYS_memfd_create, name, MFD_CLOEXEC | MFD_ALLOW_SEALING)));
    if (fd < 0) return -1;
    if (ftruncate(fd, static_cast<off_t>(bytes)) == 0 &&
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
        return fd;
    close_file(fd);
    return -1;
}

inline bool read_start(int fd, void* out, std::size_t bytes) noexcept {
    return pread(fd, out, bytes, 0) == static_cast<ssize_t>(bytes);
}

inline bool fill_random(void* out, std::size_t bytes) noexcept {
    return getrandom(out, bytes, 0) == static_cast<ssize_t>(bytes);
}

// Opens what another process of this user (and pid namespace) has open as `fd`.
inline int open_foreign_file(std::int32_t pid, int fd) noexcept {
    char path[48];
    std::snprintf(path, sizeof path, "/proc/%d/fd/%d", static_cast<int>(pid), fd);
    struct stat info {};
    if (stat(path, &info) != 0 || !S_ISREG(info.st_mode)) return -1;  // never block on a pipe or touch a device
    return above_streams(open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK));
}

inline std::uint64_t file_size(int fd) noexcept {
    struct stat info {};
    return fstat(fd, &info) == 0 ? static_cast<std::uint64_t>(info.st_size) : 0;
}

// Which file a descriptor stands for; zeros: none.
struct FileIdentity {
    std::uint64_t device, inode;
    bool operator==(const FileIdentity& other) const noexcept { return device == other.device && inode == other.inode; }
};
inline FileIdentity file_identity(int fd) noexcept {
    struct stat info {};
    if (fstat(fd, &info) != 0) return {0, 0};
    return {static_cast<std::uint64_t>(info.st_dev), static_cast<std::uint64_t>(info.st_ino)};
}

inline void* map_shared(int fd, std::uint64_t bytes) noexcept {
    void* base = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
    return base == MAP_FAILED ? nullptr : base;
}

inline constexpr std::uint64_t kHugePage = 2u << 20;

// Private memory for a large buffer, on huge pages where the system grants them: a fault for each small page would cost
// more than the copy that fills it. `bytes` is rounded up by the caller to a multiple of kHugePage.
inline void* map_private(std::uint64_t bytes) noexcept {
    char* raw = static_cast<char*>(
        mmap(nullptr, bytes + kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    if (raw == MAP_FAILED) return nullptr;
    const std::uint64_t skip = (kHugePage - reinterpret_cast<std::uintptr_t>(raw) % kHugePage) % kHugePage;
    if (skip != 0) munmap(raw, skip);
    munmap(raw + skip + bytes, kHugePage - skip);
    madvise(raw + skip, bytes, MADV_HUGEPAGE);
    return raw + skip;
}

// Puts zeroes of this process's own in the place of a mapping.
inline void map_nothing_over(void* base, std::uint64_t bytes) noexcept {
    mmap(base, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
}

inline void unmap(void* base, std::uint64_t bytes) noexcept { munmap(base, bytes); }

// Pages that were backed can be touched without a SIGBUS. False: the system has no memory for them.
inline bool back_range(int fd, std::uint64_t offset, std::uint64_t bytes) noexcept {
    for (;;) {
        if (fallocate(fd, 0, static_cast<off_t>(offset), static_cast<off_t>(bytes)) == 0) return true;
        if (errno != EINTR) return false;
    }
}

// Gives the pages back to the system; the range reads as zeros afterwards and must be backed again before use.
inline void release_range(int fd, std::uint64_t offset, std::uint64_t bytes) noexcept {
    while (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset), static_cast<off_t>(bytes)) != 0 &&
           errno == EINTR) {
    }
}

// A byte of the file, locked through an open file description of its own: held until every process that inherited the
// description has closed it or died, which the kernel decides. -1: not to be had.
inline int lock_byte(int fd, std::uint64_t position) noexcept {
    char path[32];
    std::snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    const int own = open(path, O_RDWR | O_CLOEXEC);
    if (own < 0) return -1;
    struct flock lock {};
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    lock.l_start = static_cast<off_t>(position);
    lock.l_len = 1;
    if (fcntl(own, F_OFD_SETLK, &lock) == 0) return own;
    close(own);
    return -1;
}

inline bool byte_locked(int fd, std::uint64_t position) noexcept {
    struct flock lock {};
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    lock.l_start = static_cast<off_t>(position);
    lock.l_len = 1;
    return fcntl(fd, F_OFD_GETLK, &lock) != 0 || lock.l_type != F_UNLCK;
}

}  // namespace treadle::platform
