// arena/mapping.hpp: this process in an arena: its mapping of the memory, its record, its threads' tokens, and what fork
// does to all of that. The only file of the arena that knows real processes and threads.
//
// Promise: thread-safe. A child of fork is a participant of its own, with references of its own to everything the parent
// referred to at that instant; that holds from the fork on, without the child's help, and ends if the child is killed
// before it runs (ProcessState::pending).
//
// A process may be in several arenas: its own tree's, and those it was given handles from. They are kept in one order
// (that of their identities) in every process, which is the order in which fork enters their sections.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <pthread.h>

#include "../platform/clock.hpp"
#include "../platform/memory.hpp"
#include "../platform/named_file.hpp"
#include "../platform/process.hpp"
#include "../platform/world.hpp"
#include "arena.hpp"
#include "handles.hpp"

namespace treadle::arena {

using SharedWorld = platform::SharedWorld;

class RealSystem {
public:
    explicit RealSystem(int fd) noexcept : fd(fd), file_(platform::file_identity(fd)) { refresh(); }

    bool back(Offset at, std::uint64_t bytes) noexcept { return has_file() && platform::back_range(fd, at, bytes); }
    void unback(Offset at, std::uint64_t bytes) noexcept {
        if (has_file()) platform::release_range(fd, at, bytes);
    }
    // A program may have closed all descriptors, and opened a file of its own under this number: that is not to be touched.
    bool has_file() const noexcept { return platform::file_identity(fd) == file_; }
    bool alive(std::int32_t other, std::uint64_t its_birth) const noexcept {
        if (other == pid) return platform::same_birth(its_birth, birth);
        return platform::process_alive(other, [=](std::uint64_t found) { return platform::same_birth(its_birth, found); });
    }
    bool boot_alive(std::int32_t other, std::uint64_t birth_low) const noexcept {
        return platform::process_alive(other, [=](std::uint64_t found) { return boot_bits(found) == birth_low; });
    }
    bool pending(std::uint32_t index) const noexcept { return !has_file() || platform::byte_locked(fd, kCapacity + index); }

    // False: the system did not tell who we are, so that nobody else could tell whether we live.
    bool refresh() noexcept {
        pid = platform::current_pid();
        const platform::ProcessStat stat = platform::read_process_stat(pid);
        birth = stat.birth;
        return stat.state != 0;
    }

    const platform::FileIdentity& file() const noexcept { return file_; }

    int fd;
    std::int32_t pid = 0;
    std::uint64_t birth = 0;

private:
    platform::FileIdentity file_;
};

using SharedArena = Arena<SharedWorld, RealSystem>;
using SharedBlock = Block<SharedWorld>;
using SharedHandles = Handles<SharedWorld, RealSystem>;

enum class AttachError : int { none, unreachable, system, not_an_arena, other_version, other_namespace, full };

// Bytes beyond the end of the file, whose locks say who is there. From kCapacity on: children of fork that have not come
// to life yet, by their records. Of an arena with a path (named.hpp) besides:
inline constexpr std::uint64_t kGateByte = kCapacity + (std::uint64_t{1} << 21);  // locked by who comes in
inline constexpr std::uint64_t kMembersByte = kGateByte + 1;                      // locked, shared, by all who are in

// Does the file begin as the arena of that identity does? Read, not mapped: it may be anything.
inline bool has_identity(int fd, const std::uint64_t (&identity)[2]) noexcept {
    alignas(Header<SharedWorld>) char start[offsetof(Header<SharedWorld>, identity) + sizeof identity];
    if (!platform::read_start(fd, start, sizeof start)) return false;
    return std::memcmp(start + offsetof(Header<SharedWorld>, identity), identity, sizeof identity) == 0;
}

class Mapping;

// The calling thread in the arena it used last; the others are in the list.
struct ThreadTokens {
    Mapping* mapping;
    word::Token token;
    ThreadTokens* next;
};
inline constinit thread_local Mapping* tls_mapping = nullptr;
inline constinit thread_local word::Token tls_token = word::kNobody;
inline constinit thread_local ThreadTokens* tls_others = nullptr;

class Mapping {
public:
    // The arena that this process makes its objects in: the first that it made or joined. Null: none yet.
    static Mapping* home() noexcept { return home_arena_.load(std::memory_order_acquire); }  // SYNC settle→home: the mapping

    // The same, made if there is none. Null: no memory.
    static Mapping* make_home(std::uint64_t limit_bytes) noexcept {
        const Joining joining;
        if (home() == nullptr)
            if (Mapping* made = create(limit_bytes)) settle(made);
        return home();
    }

    // The arena of that identity: known already, or the one in the file that `reach_file()` opens (-1: not to be had). Null: see
    // `error`.
    template <class OpenFile>
    static Mapping* reach(const std::uint64_t (&identity)[2], OpenFile reach_file, AttachError& error) noexcept {
        if (Mapping* known = find(identity)) return known;
        const Joining joining;
        if (Mapping* known = find(identity)) return known;
        error = AttachError::unreachable;
        const int fd = reach_file();
        Mapping* joined = fd < 0 ? nullptr : attach(fd, error);
        if (joined != nullptr) settle(joined);
        return joined;
    }

    // A new arena with this process as its first; null: no memory.
    static Mapping* create(std::uint64_t limit_bytes) noexcept {
        const int fd = platform::create_memory_file("treadle", kCapacity);
        return fd < 0 ? nullptr : found(fd, limit_bytes, 0);
    }

    // The same, in an empty file; takes the descriptor. `boot` as in Header.
    static Mapping* found(int fd, std::uint64_t limit_bytes, std::uint64_t boot) noexcept {
        void* base = platform::map_shared(fd, kCapacity);
        Mapping* mapping = base == nullptr ? nullptr : place(fd, base);
        std::uint64_t identity[2];
        AttachError error;
        if (mapping != nullptr && platform::fill_random(identity, sizeof identity) &&
            mapping->arena.format(limit_bytes, identity, platform::namespaces(), mapping->system.pid,
                                  mapping->system.birth, fd, boot) &&
            mapping->join(error))
            return mapping;
        discard(mapping, base, fd);
        return nullptr;
    }

    // Joins the arena that the file holds; takes the descriptor. `alone`: the kernel says that nobody is in it, so that one
    // of another namespace is ours to take over. Null: see `error`.
    static Mapping* attach(int fd, AttachError& error, bool alone = false) noexcept {
        error = AttachError::system;
        void* base = nullptr;
        Mapping* mapping = nullptr;
        if (platform::file_size(fd) != kCapacity) {
            error = AttachError::not_an_arena;
        } else if ((base = platform::map_shared(fd, kCapacity)) != nullptr &&
                   (mapping = place(fd, base)) != nullptr) {
            const Header<SharedWorld>& h = mapping->arena.header();
            if (!mapping->arena.recognised()) error = AttachError::not_an_arena;
            else if (h.version != kLayoutVersion || h.header_bytes != sizeof h) error = AttachError::other_version;
            else if (h.namespaces != platform::namespaces() && !alone) error = AttachError::other_namespace;
            else if (mapping->hold_membership()) {
                if (h.namespaces != platform::namespaces()) mapping->take_over();
                if (mapping->join(error)) return mapping;
            }
        }
        discard(mapping, base, fd);
        return nullptr;
    }

    static Mapping* find(const std::uint64_t (&identity)[2]) noexcept {
        for (Mapping* m = first(); m != nullptr; m = m->next())
            if (std::memcmp(m->arena.header().identity, identity, sizeof identity) == 0) return m;
        return nullptr;
    }
    // The list only grows, under its mutex, and is read without.
    static Mapping* first() noexcept { return first_.load(std::memory_order_acquire); }  // SYNC join→find: the mapping
    Mapping* next() const noexcept { return next_.load(std::memory_order_acquire); }

    // The calling thread's token, or kNobody: then register_thread().
    word::Token token() noexcept {
        if (tls_mapping == this) [[likely]]
            return tls_token;
        return find_token();
    }

    // The calling thread's token, or what its process goes by as long as it has none.
    word::Token caller_token() noexcept {
        const word::Token mine = token();
        return mine != word::kNobody ? mine : boot_token(system.pid, system.birth);
    }

    // A token for one task of this thread's; end_task() when it is over. kNobody: the arena's limit.
    word::Token register_task(const char* name) noexcept { return register_participant(name, true); }
    void end_task(word::Token token) noexcept {
        if (member()) arena.registry.end_thread(token);
    }

    // kNobody: the arena's limit.
    word::Token register_thread(const char* name) noexcept {
        auto* entry = static_cast<ThreadTokens*>(std::malloc(sizeof(ThreadTokens)));
        if (entry == nullptr) return word::kNobody;
        entry->token = register_participant(name, false);
        if (entry->token == word::kNobody) {
            std::free(entry);
            return word::kNobody;
        }
        entry->mapping = this;
        entry->next = tls_others;
        tls_others = entry;
        pthread_setspecific(thread_end_key_, entry);
        tls_mapping = this;
        tls_token = entry->token;
        word::Token none = word::kNobody;
        home_.compare_exchange_strong(none, entry->token, std::memory_order_relaxed);
        return tls_token;
    }

    // One token for all of this process: what it holds as a process goes by it. A thread has registered before.
    word::Token home_token() const noexcept { return home_.load(std::memory_order_relaxed); }

    // Is it an arena that programs find by its path?
    bool named() const noexcept { return arena.header().boot != 0; }

    // Has this process a place in the arena? False in a child for which the fork found no memory or no descriptor, or that
    // has entered another pid or time namespace. Its objects then lie in zeroes of its own.
    bool member() const noexcept { return process != kNoRecord; }

    // A caller (word/attempt.hpp) for whom a token is alive while its process is ...
    struct Caller {
        word::Token token;
        bool look;
        Mapping* mapping;
        bool alive(word::Token other) const noexcept { return mapping->arena.registry.alive(other); }
    };
    // ... or, for locks that only their owner can release, while its thread is.
    struct ThreadCaller {
        word::Token token;
        bool look;
        Mapping* mapping;
        bool alive(word::Token other) const noexcept { return mapping->arena.registry.thread_alive(other); }
    };

    // Attempts until it is not blocked any more: for the short sections, where nobody waits for long.
    template <class Attempt>
    word::Result insist(Attempt&& attempt) noexcept {
        Caller who{caller_token(), false, this};
        word::Wait wait;
        for (std::int64_t slice = 1'000'000;;) {
            const word::Result result = attempt(who, wait);
            if (result != word::Result::blocked) return result;
            who.look = SharedWorld::wait(wait.word, wait.expected, slice, wait.bits) == platform::FutexWait::timeout;
            if (slice < 16'000'000) slice *= 2;
        }
    }

    // Removes dead processes; returns how many. Cheap when there are none but for one look at each.
    std::uint32_t sweep() noexcept {
        std::uint32_t removed = 0;
        for (std::uint32_t dead = 0; (dead = arena.registry.find_dead(process, dead)) != kNoRecord; ++dead, ++removed)
            insist([&](auto& who, word::Wait& wait) {
                if (arena.enter(who, wait) == word::Result::blocked) return word::Result::blocked;
                arena.registry.remove_if_dead(dead);
                arena.leave();
                return word::Result::done;
            });
        return removed;
    }

    // Is it time to sweep? Once a second at most, for whichever process asks first: where objects are made, and before a fork.
    bool sweep_due() noexcept {
        auto& swept_at = arena.header().swept_at;
        const std::int64_t now = platform::now_coarse();
        std::int64_t last = swept_at.load(std::memory_order_relaxed);
        return now - last >= 1'000'000'000 && swept_at.compare_exchange_strong(last, now, std::memory_order_relaxed);
    }

    RealSystem system;
    SharedArena arena;
    SharedHandles handles;
    std::uint32_t process = kNoRecord;
    std::uint32_t reactor = kReactors;  // of this process, in the arena's header; kReactors: none
    std::uint32_t swept_when_joined = 0;  // dead processes
    char* const base;

    // Installs the fork handlers and the end-of-thread hook; once a process.
    static void install() noexcept {
        pthread_key_create(&thread_end_key_, end_of_thread);
        pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
    }

private:
    friend class Named;

    Mapping(int fd, char* base) noexcept : system(fd), arena(base, system), base(base) {}
    ~Mapping() = default;

    // malloc, not new: the core is linked without the C++ library.
    static Mapping* place(int fd, void* base) noexcept {
        void* memory = std::malloc(sizeof(Mapping));
        return memory == nullptr ? nullptr : new (memory) Mapping(fd, static_cast<char*>(base));
    }
    static void discard(Mapping* mapping, void* base, int fd) noexcept {
        if (mapping != nullptr) {
            mapping->~Mapping();
            std::free(mapping);
        }
        if (base != nullptr) platform::unmap(base, kCapacity);
        platform::close_file(fd);
    }

    // Whoever removes the file asks the kernel for this lock.
    bool hold_membership() noexcept {
        if (!named()) return true;
        platform::Locked locked;
        do locked = platform::set_lock(system.fd, kMembersByte, platform::ByteLock::shared, true);
        while (locked == platform::Locked::interrupted);
        return locked == platform::Locked::done;
    }

    // All who were here are dead, and their pids mean nothing here.
    void take_over() noexcept {
        insist([&](auto& who, word::Wait& wait) {
            if (arena.enter(who, wait) == word::Result::blocked) return word::Result::blocked;
            for (std::uint32_t i = 0; i < arena.header().process_limit.load(std::memory_order_relaxed); ++i)
                if (arena.registry.process_at(i).state.load(std::memory_order_relaxed) !=
                    static_cast<std::uint32_t>(ProcessState::free))
                    arena.registry.remove_process(i);
            arena.leave();
            return word::Result::done;
        });
        arena.header().namespaces = platform::namespaces();
    }

    bool join(AttachError& error) noexcept {
        error = AttachError::full;
        swept_when_joined = sweep();
        insist([&](auto& who, word::Wait& wait) {
            if (arena.enter(who, wait) == word::Result::blocked) return word::Result::blocked;
            process = arena.registry.add_process(ProcessState::live, system.pid, system.birth, system.fd);
            arena.leave();
            return word::Result::done;
        });
        if (!member()) return false;
        pthread_mutex_lock(&list_mutex_);
        std::atomic<Mapping*>* place = &first_;
        Mapping* after = place->load(std::memory_order_relaxed);
        while (after != nullptr &&
               std::memcmp(after->arena.header().identity, arena.header().identity, sizeof(std::uint64_t) * 2) < 0) {
            place = &after->next_;
            after = place->load(std::memory_order_relaxed);
        }
        next_.store(after, std::memory_order_relaxed);
        place->store(this, std::memory_order_release);  // SYNC join→find
        pthread_mutex_unlock(&list_mutex_);
        error = AttachError::none;
        return true;
    }

    [[gnu::noinline]] word::Token find_token() noexcept {
        for (ThreadTokens* t = tls_others; t != nullptr; t = t->next) {
            if (t->mapping != this) continue;
            tls_mapping = this;
            return tls_token = t->token;
        }
        return word::kNobody;
    }

    word::Token register_participant(const char* name, bool task) noexcept {
        word::Token token = word::kNobody;
        insist([&](auto& who, word::Wait& wait) {
            if (arena.enter(who, wait) == word::Result::blocked) return word::Result::blocked;
            if (own_count_ != own_room_ || grow_own()) {
                const auto add = [&](std::uint32_t former) {
                    return arena.registry.add_participant(process, former, system.pid, platform::current_tid(), name, task);
                };
                std::uint32_t former = idle_participant(kRemembered);
                token = add(former);
                if (token == word::kNobody && (former = idle_participant(0)) != kNoRecord) token = add(former);
                if (token != word::kNobody && former == kNoRecord) own_[own_count_++] = token_index(token);
            }
            arena.leave();
            return word::Result::done;
        });
        return token;
    }
    // In turn, and only if more than `others` are idle as well: so that who has ended holding a lock keeps its name for a while.
    static constexpr std::uint32_t kRemembered = 8;
    std::uint32_t idle_participant(std::uint32_t others) noexcept {
        std::uint32_t found = kNoRecord, at = 0;
        for (std::uint32_t i = 0, idle = 0; i < own_count_; ++i) {
            const std::uint32_t candidate = next_own_ + i < own_count_ ? next_own_ + i : next_own_ + i - own_count_;
            if (!arena.registry.idle(own_[candidate])) continue;
            if (idle++ == 0) {
                found = own_[candidate];
                at = candidate;
            }
            if (idle > others) {
                next_own_ = at + 1 < own_count_ ? at + 1 : 0;
                return found;
            }
        }
        return kNoRecord;
    }
    bool grow_own() noexcept {
        const std::uint32_t room = own_room_ == 0 ? 16 : own_room_ * 2;
        auto* larger = static_cast<std::uint32_t*>(std::realloc(own_, room * sizeof *own_));
        if (larger == nullptr) return false;
        own_ = larger;
        own_room_ = room;
        return true;
    }

    static void end_of_thread(void*) noexcept {
        tls_mapping = nullptr;
        while (ThreadTokens* t = tls_others) {
            tls_others = t->next;
            t->mapping->arena.registry.end_thread(t->token);
            std::free(t);
        }
    }

    static void before_fork() noexcept {
        pthread_mutex_lock(&joining_mutex_);
        pthread_mutex_lock(&list_mutex_);
        for (Mapping* m = first(); m != nullptr; m = m->next()) {
            if (m->member() && m->sweep_due()) m->sweep();
            m->enter();
            if (m->expect_child()) continue;
            // The dead may still hold what is missing.
            m->arena.leave();
            if (m->member()) m->sweep();
            m->enter();
            m->expect_child();
        }
    }
    void enter() noexcept {
        insist([this](auto& who, word::Wait& wait) { return arena.enter(who, wait); });
    }
    bool expect_child() noexcept {
        child_ = kNoRecord;
        child_lock_ = -1;
        if (!member() || !system.has_file()) return false;
        child_ = arena.registry.add_process(ProcessState::pending, system.pid, system.birth, system.fd);
        if (child_ == kNoRecord) return false;
        child_lock_ = platform::lock_byte(system.fd, kCapacity + child_);
        if (child_lock_ >= 0 && arena.registry.copy_references(process, child_)) return true;
        arena.registry.remove_process(child_);
        child_ = kNoRecord;
        if (child_lock_ >= 0) platform::close_file(child_lock_);
        return false;
    }
    static void after_fork_in_parent() noexcept {
        for (Mapping* m = first(); m != nullptr; m = m->next()) {
            m->arena.leave();
            if (m->child_ != kNoRecord) platform::close_file(m->child_lock_);
        }
        pthread_mutex_unlock(&list_mutex_);
        pthread_mutex_unlock(&joining_mutex_);
    }
    static void after_fork_in_child() noexcept {
        tls_mapping = nullptr;
        while (ThreadTokens* t = tls_others) {
            tls_others = t->next;
            std::free(t);
        }
        for (Mapping* m = first(); m != nullptr; m = m->next()) {
            m->process = m->child_;
            m->reactor = kReactors;
            m->own_count_ = m->next_own_ = 0;
            m->home_.store(word::kNobody, std::memory_order_relaxed);
            m->handles.forget_chunks();
            const bool known = m->system.refresh() && platform::namespaces() == m->arena.header().namespaces;
            if (!m->member()) continue;
            if (known) {
                auto* record = m->arena.registry.process(m->process);
                record->pid.store(m->system.pid, std::memory_order_relaxed);
                record->birth.store(m->system.birth, std::memory_order_relaxed);
                record->state.store(static_cast<std::uint32_t>(ProcessState::live), std::memory_order_release);
            } else {  // nobody could tell whether it lives: the record stays pending, and is swept
                m->process = kNoRecord;
            }
            platform::close_file(m->child_lock_);
        }
        // Without a record nothing in the arena is kept for this process: what lies where its objects were may be another's.
        for (Mapping* m = first(); m != nullptr; m = m->next())
            if (!m->member()) platform::map_nothing_over(m->base, kCapacity);
        pthread_mutex_init(&list_mutex_, nullptr);
        pthread_mutex_init(&joining_mutex_, nullptr);
    }

    // One thread at a time makes or joins an arena, and no fork falls into that.
    struct Joining {
        Joining() noexcept { pthread_mutex_lock(&joining_mutex_); }
        ~Joining() { pthread_mutex_unlock(&joining_mutex_); }
        Joining(const Joining&) = delete;
        Joining& operator=(const Joining&) = delete;
    };
    static void settle(Mapping* mapping) noexcept {
        if (mapping->named()) return;  // what has no name belongs to the tree
        Mapping* none = nullptr;
        home_arena_.compare_exchange_strong(none, mapping, std::memory_order_release, std::memory_order_relaxed);  // SYNC settle→home
    }

    inline static constinit std::atomic<Mapping*> first_{nullptr};
    inline static constinit std::atomic<Mapping*> home_arena_{nullptr};
    inline static pthread_mutex_t joining_mutex_ = PTHREAD_MUTEX_INITIALIZER;
    inline static pthread_mutex_t list_mutex_ = PTHREAD_MUTEX_INITIALIZER;
    inline static pthread_key_t thread_end_key_ = 0;

    std::atomic<Mapping*> next_{nullptr};
    std::atomic<word::Token> home_{word::kNobody};
    std::uint32_t child_ = kNoRecord;  // between before_fork and after_fork
    int child_lock_ = -1;
    std::uint32_t* own_ = nullptr;  // participants that belong to this process
    std::uint32_t own_count_ = 0, own_room_ = 0, next_own_ = 0;
};

}  // namespace treadle::arena
