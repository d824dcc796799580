// crash/shared_memory.hpp: the memory that survives a death, its images, and the journal of its states.
//
// `SharedMemory` lists what a case shares between its processes: a memory file mapped by the harness, and whatever else
// the case's setup hands over with `track`. `save` and `load` copy it to and from an image; that is how every
// crash point begins from the same state. The length of the file is restored too; which of its pages are
// reserved is not.
//
// `Journal` follows a stepped operation: at each step it compares the memory with its last copy and stores the 64-byte
// lines that differ. So it holds each distinct state that the memory went through, and at which instruction; what
// private memory and registers held does not outlive the process.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sys/mman.h>
#include <unistd.h>
#include <vector>

namespace step_kill {

inline constexpr std::size_t line_bytes = 64;
inline constexpr std::size_t block_bytes = 4096;

[[noreturn]] inline void die(const char* what) {
    std::perror(what);
    std::exit(1);
}

inline void* map_shared(std::size_t bytes, int fd = -1) {
    const int flags = MAP_SHARED | MAP_NORESERVE | (fd < 0 ? MAP_ANONYMOUS : 0);
    void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, flags, fd, 0);
    if (memory == MAP_FAILED) die("mmap");
    return memory;
}

struct Span {
    std::byte* base;
    std::size_t bytes;
};

using Image = std::vector<std::byte>;

class SharedMemory {
public:
    // A new, zeroed memory file of `bytes`, the first of them tracked.
    SharedMemory(std::size_t bytes, std::size_t tracked) : mapped_(round_up(bytes, block_bytes)) {
        fd_ = memfd_create("step_kill", MFD_CLOEXEC);
        if (fd_ < 0 || ftruncate(fd_, static_cast<off_t>(mapped_)) != 0) die("memfd_create");
        base_ = static_cast<std::byte*>(map_shared(mapped_, fd_));
        track(base_, tracked);
    }
    ~SharedMemory() {
        munmap(base_, mapped_);
        close(fd_);
    }
    SharedMemory(const SharedMemory&) = delete;
    SharedMemory& operator=(const SharedMemory&) = delete;

    void* base() const noexcept { return base_; }
    int fd() const noexcept { return fd_; }
    const std::vector<Span>& spans() const noexcept { return spans_; }
    std::size_t bytes() const noexcept { return bytes_; }

    // Adds memory to the images: a MAP_SHARED mapping that this process's children will have at the same address,
    // aligned to 64 bytes.
    void track(void* base, std::size_t bytes) {
        bytes = round_up(bytes, line_bytes);
        spans_.push_back({static_cast<std::byte*>(base), bytes});
        bytes_ += bytes;
    }

    void save(Image& image) const {
        image.resize(bytes_);
        std::byte* to = image.data();
        for (const Span& span : spans_) {
            std::memcpy(to, span.base, span.bytes);
            to += span.bytes;
        }
    }

    void load(const Image& image) const {
        if (ftruncate(fd_, static_cast<off_t>(mapped_)) != 0) die("ftruncate");
        const std::byte* from = image.data();
        for (const Span& span : spans_) {
            std::memcpy(span.base, from, span.bytes);
            from += span.bytes;
        }
    }

private:
    static std::size_t round_up(std::size_t n, std::size_t to) noexcept { return (n + to - 1) / to * to; }

    std::byte* base_ = nullptr;
    std::size_t mapped_;
    int fd_ = -1;
    std::vector<Span> spans_;
    std::size_t bytes_ = 0;
};

class Journal {
public:
    struct State {
        std::uint64_t step;           // the first at which the memory was so
        std::uintptr_t executed;      // the instruction that made it so
        std::uintptr_t next;
        std::uint64_t changes_end;
    };

    explicit Journal(const SharedMemory& memory)
        : memory_(memory), shared_(static_cast<Shared*>(map_shared(total_bytes(memory)))) {
        copy_ = reinterpret_cast<std::byte*>(shared_) + copy_offset;
    }
    ~Journal() { munmap(shared_, total_bytes(memory_)); }
    Journal(const Journal&) = delete;
    Journal& operator=(const Journal&) = delete;

    // Before the stepped process starts: what the memory holds.
    void begin(const Image& image) {
        shared_->states = shared_->changes = 0;
        shared_->overflow = false;
        std::memcpy(copy_, image.data(), image.size());
    }

    // At each step, in whichever process steps. Uses no memory but the journal's own: it runs in a signal handler.
    void note(std::uint64_t step, std::uintptr_t executed, std::uintptr_t next) noexcept {
        const std::uint64_t before = shared_->changes;
        std::size_t offset = 0;
        for (const Span& span : memory_.spans()) {
            for (std::size_t block = 0; block < span.bytes; block += block_bytes) {
                const std::size_t size = span.bytes - block < block_bytes ? span.bytes - block : block_bytes;
                if (std::memcmp(span.base + block, copy_ + offset + block, size) != 0)
                    note_lines(span.base + block, offset + block, size);
            }
            offset += span.bytes;
        }
        if (step != 0 && shared_->changes == before) return;
        if (shared_->states == max_states) {
            shared_->overflow = true;
            return;
        }
        states()[shared_->states++] = {step, executed, next, shared_->changes};
    }

    bool overflow() const noexcept { return shared_->overflow; }
    std::size_t size() const noexcept { return shared_->states; }
    const State& operator[](std::size_t i) const noexcept { return states()[i]; }

    // Turns the image of state i - 1 (for i = 0: the one given to `begin`) into that of state i.
    void advance(Image& image, std::size_t i) const {
        for (std::uint64_t c = i == 0 ? 0 : states()[i - 1].changes_end; c < states()[i].changes_end; ++c)
            std::memcpy(image.data() + changes()[c].offset, changes()[c].bytes, line_bytes);
    }

private:
    struct Change {
        std::uint64_t offset;
        std::byte bytes[line_bytes];
    };
    struct Shared {
        std::uint64_t states, changes;
        bool overflow;
    };
    // Reserved address space; pages come as they are written.
    static constexpr std::size_t max_states = 1 << 20;
    static constexpr std::size_t max_changes = 4 << 20;
    static constexpr std::size_t states_offset = block_bytes;
    static constexpr std::size_t changes_offset = states_offset + max_states * sizeof(State);
    static constexpr std::size_t copy_offset = (changes_offset + max_changes * sizeof(Change) + 63) / 64 * 64;

    static std::size_t total_bytes(const SharedMemory& memory) noexcept { return copy_offset + memory.bytes(); }
    State* states() const noexcept {
        return reinterpret_cast<State*>(reinterpret_cast<std::byte*>(shared_) + states_offset);
    }
    Change* changes() const noexcept {
        return reinterpret_cast<Change*>(reinterpret_cast<std::byte*>(shared_) + changes_offset);
    }

    void note_lines(const std::byte* now, std::size_t offset, std::size_t bytes) noexcept {
        for (std::size_t line = 0; line < bytes; line += line_bytes) {
            if (std::memcmp(now + line, copy_ + offset + line, line_bytes) == 0) continue;
            if (shared_->changes == max_changes) {
                shared_->overflow = true;
                return;
            }
            Change& change = changes()[shared_->changes++];
            change.offset = offset + line;
            std::memcpy(change.bytes, now + line, line_bytes);
            std::memcpy(copy_ + offset + line, now + line, line_bytes);
        }
    }

    const SharedMemory& memory_;
    Shared* shared_;
    std::byte* copy_;
};

}  // namespace step_kill
