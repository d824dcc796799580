// Real processes in an arena: fork with live references, attaching from a descriptor, threads that come and go.
#include <atomic>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

#include "check.hpp"
#include "crash/arena_books.hpp"
#include "threads.hpp"
#include "treadle/arena/mapping.hpp"

using namespace treadle::arena;
using threads::run_threads;
using treadle::word::kNobody;
using treadle::word::Result;
using treadle::word::Token;
using treadle::word::Wait;

namespace {

constexpr std::uint64_t kLimit = 256u << 20;

Mapping& tree() {
    static Mapping* const mapping = [] {
        Mapping* made = Mapping::create(kLimit);
        REQUIRE(made != nullptr);
        return made;
    }();
    return *mapping;
}

template <class Action>
void inside(Mapping& mapping, Action action) {
    mapping.insist([&](auto& who, Wait& wait) {
        if (mapping.arena.enter(who, wait) == Result::blocked) return Result::blocked;
        action();
        mapping.arena.leave();
        return Result::done;
    });
}

struct Held {
    SharedBlock* block = nullptr;
    std::uint32_t slot = SharedHandles::kNoSlot;
    BlockRef ref = 0;
};
char* text_of(const Held& held) { return reinterpret_cast<char*>(held.block + 1); }
Held make(Mapping& mapping, std::uint64_t bytes) {
    Held held;
    inside(mapping, [&] {
        held.block = mapping.arena.heap.allocate(bytes, Kind::message);
        if (held.block == nullptr) return;
        held.slot = mapping.handles.add(mapping.arena, mapping.process, held.block);
        held.ref = mapping.arena.heap.ref_to(held.block);
    });
    return held;
}
void drop(Mapping& mapping, const Held& held) {
    inside(mapping, [&] { mapping.handles.drop(mapping.arena, mapping.process, held.slot); });
}
bool lives(Mapping& mapping, const Held& held) {
    bool found = false;
    inside(mapping, [&] { found = mapping.arena.heap.resolve(held.ref) != nullptr; });
    return found;
}
std::uint32_t references(Mapping& mapping, const Held& held) {
    std::uint32_t refs = 0;
    inside(mapping, [&] { refs = held.block->refs.load(); });
    return refs;
}

/// Sweeps, then audits the whole arena.
std::uint64_t audited_blocks(Mapping& mapping) {
    mapping.sweep();
    arena_crash::Books books(mapping.arena);
    const std::string wrong = books.check();
    CHECK(wrong.empty(), wrong);
    return books.live_blocks();
}

/// Runs the body in a child of fork; its result is the exit code.
template <class Body>
pid_t start_child(Body body) {
    const pid_t pid = fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
        check::watchdog(60);
        _exit(body());
    }
    return pid;
}
int exit_code(pid_t pid) {
    int status = 0;
    while (waitpid(pid, &status, 0) != pid) {
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/// Two ends, for one byte that means "go on".
struct Signal {
    int ends[2];
    Signal() { REQUIRE(pipe(ends) == 0); }
    Signal(const Signal&) = delete;
    ~Signal() {
        close(ends[0]);
        close(ends[1]);
    }
    void give() { CHECK(write(ends[1], "x", 1) == 1); }
    void take() {
        char byte;
        CHECK(read(ends[0], &byte, 1) == 1);
    }
};

int descriptors() {
    int count = 0;
    for (int fd = 0; fd < 256; ++fd) count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

}  // namespace

TEST(a_new_arena_has_its_maker_as_a_member) {
    Mapping& mapping = tree();
    CHECK(mapping.member());
    CHECK(mapping.arena.recognised());
    CHECK(Mapping::find(mapping.arena.header().identity) == &mapping);
    CHECK_EQ(mapping.token(), kNobody);
    const Token token = mapping.register_thread("MainThread");
    CHECK(token != kNobody);
    CHECK_EQ(mapping.token(), token);
    CHECK_EQ(mapping.caller_token(), token);
    CHECK_EQ(mapping.home_token(), token);
    CHECK(mapping.arena.registry.alive(token));
    CHECK(mapping.arena.registry.thread_alive(token));
    CHECK_EQ(mapping.arena.registry.participant_of(token)->pid.load(), getpid());
    audited_blocks(mapping);
}

TEST(a_thread_that_ended_is_not_its_process) {
    Mapping& mapping = tree();
    Token token = kNobody;
    std::thread([&] {
        token = mapping.register_thread("short");
        CHECK(mapping.arena.registry.thread_alive(token));
    }).join();
    CHECK(mapping.arena.registry.alive(token));
    CHECK(!mapping.arena.registry.thread_alive(token));
}

TEST(a_thousand_threads_one_after_another_leave_no_growth) {
    Mapping& mapping = tree();
    std::thread([&] { mapping.register_thread("first"); }).join();
    const std::uint64_t blocks = audited_blocks(mapping);
    const std::uint32_t records = mapping.arena.header().participant_limit.load();
    const std::uint64_t used = mapping.arena.header().used_units.load();
    unsigned failed = 0;
    std::atomic<std::uint32_t> highest{0};
    for (int n = 0; n < 1000; ++n)
        std::thread([&] {
            const Token token = mapping.register_thread("one of many");
            failed += token == kNobody || !mapping.arena.registry.thread_alive(token);
            if (token_index(token) > highest) highest = token_index(token);
        }).join();
    CHECK_EQ(failed, 0u);
    CHECK(highest.load() < 16u, "the records of ended threads are used again: ", highest.load());
    CHECK_EQ(mapping.arena.header().participant_limit.load(), records);
    CHECK_EQ(mapping.arena.header().used_units.load(), used);
    CHECK_EQ(audited_blocks(mapping), blocks);
}

TEST(threads_register_and_allocate_side_by_side) {
    Mapping& mapping = tree();
    const std::uint64_t blocks = audited_blocks(mapping);
    run_threads(4, [&](unsigned i) {
        const Token token = mapping.register_thread("worker");
        CHECK(token != kNobody);
        CHECK(mapping.home_token() != kNobody);
        threads::Random random(i);
        std::vector<Held> held;
        for (int n = 0; n < (check::sanitized ? 500 : 4000); ++n) {
            if (held.size() < 20 && random.below(2) == 0) {
                held.push_back(make(mapping, kBlockHeader + 8 + random.below(3000)));
                CHECK(held.back().slot != SharedHandles::kNoSlot);
                std::memset(text_of(held.back()), static_cast<int>(token_index(token)), 8);
            } else if (!held.empty()) {
                const Held last = held[random.below(held.size())];
                CHECK_EQ(static_cast<unsigned>(static_cast<unsigned char>(*text_of(last))), token_index(token));
                CHECK(mapping.arena.heap.resolve(last.ref) == last.block, "without the section, as the queue does");
                std::swap(held[0], held.back());
                drop(mapping, held.back());
                held.pop_back();
            }
        }
        for (const Held& each : held) drop(mapping, each);
    });
    CHECK_EQ(audited_blocks(mapping), blocks);
}

TEST(a_child_of_fork_holds_what_its_parent_held) {
    Mapping& mapping = tree();
    const std::uint64_t blocks = audited_blocks(mapping);
    const Held held = make(mapping, 5000);
    std::memcpy(text_of(held), "of the parent", 14);
    Signal go, came;
    const Token parents = mapping.token();
    const pid_t child = start_child([&] {
        if (!mapping.member() || mapping.token() != kNobody) return 1;
        const Token token = mapping.register_thread("child");
        if (token == kNobody || token == parents || !mapping.arena.registry.alive(parents)) return 2;
        came.give();
        go.take();  // the parent has dropped its own reference
        if (!lives(mapping, held) || std::strcmp(text_of(held), "of the parent") != 0) return 3;
        if (references(mapping, held) != 1) return 4;
        drop(mapping, held);
        if (lives(mapping, held)) return 5;
        return 0;
    });
    came.take();
    CHECK_EQ(references(mapping, held), 2u);
    drop(mapping, held);
    CHECK(lives(mapping, held));
    go.give();
    CHECK_EQ(exit_code(child), 0);
    CHECK(!lives(mapping, held));
    CHECK_EQ(audited_blocks(mapping), blocks);
}

TEST(what_a_killed_child_held_is_swept) {
    Mapping& mapping = tree();
    const std::uint64_t blocks = audited_blocks(mapping);
    const Held held = make(mapping, 100);
    for (int lap = 0; lap < 5; ++lap) {
        Signal came;
        const pid_t child = start_child([&] {
            for (int n = 0; n < 50; ++n) make(mapping, 100 + 1000u * static_cast<unsigned>(n));
            came.give();
            for (;;) pause();
            return 0;
        });
        came.take();
        CHECK_EQ(references(mapping, held), 2u);
        CHECK(audited_blocks(mapping) >= blocks + 51);
        CHECK_EQ(kill(child, SIGKILL), 0);
        siginfo_t info{};
        CHECK_EQ(waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT), 0);
        CHECK_EQ(audited_blocks(mapping), blocks + 1, "a zombie is dead");
        CHECK_EQ(references(mapping, held), 1u);
        exit_code(child);
    }
    drop(mapping, held);
    CHECK_EQ(audited_blocks(mapping), blocks);
}

TEST(a_child_that_was_killed_in_the_section_holds_up_nobody) {
    Mapping& mapping = tree();
    const std::uint64_t blocks = audited_blocks(mapping);
    const std::uint64_t rebuilds = mapping.arena.header().rebuilds.load();
    const pid_t child = start_child([&] {
        mapping.register_thread("victim");
        inside(mapping, [&] {
            mapping.arena.heap.allocate(100, Kind::message);
            kill(getpid(), SIGKILL);
        });
        return 1;
    });
    CHECK_EQ(exit_code(child), 128 + SIGKILL);
    const Held held = make(mapping, 100);
    CHECK(held.slot != SharedHandles::kNoSlot);
    drop(mapping, held);
    CHECK_EQ(mapping.arena.header().rebuilds.load(), rebuilds + 1);
    CHECK_EQ(audited_blocks(mapping), blocks);
}

TEST(grandchildren_hold_for_themselves) {
    Mapping& mapping = tree();
    const std::uint64_t blocks = audited_blocks(mapping);
    const Held held = make(mapping, 100);
    Signal go, came;
    const pid_t child = start_child([&] {
        start_child([&] {
            came.give();
            go.take();
            const bool still = lives(mapping, held) && references(mapping, held) == 1;
            came.give();
            return still ? 0 : 1;
        });
        return 0;  // it ends before its own child does
    });
    CHECK_EQ(exit_code(child), 0);
    came.take();
    drop(mapping, held);
    mapping.sweep();
    CHECK(lives(mapping, held));
    go.give();
    came.take();
    threads::await([&] { return mapping.sweep(), !lives(mapping, held); });
    CHECK_EQ(audited_blocks(mapping), blocks);
}

TEST(a_fork_amid_threads_that_work_gives_a_child_that_works) {
    Mapping& mapping = tree();
    const std::uint64_t blocks = audited_blocks(mapping);
    std::atomic<bool> ended{false};
    run_threads(3, [&](unsigned i) {
        mapping.register_thread("busy");
        if (i != 0) {
            while (!ended.load()) drop(mapping, make(mapping, 100 + i * 3000));
            return;
        }
        for (int lap = 0; lap < (check::sanitized ? 5 : 20); ++lap) {
            const Held held = make(mapping, 100);
            const pid_t child = start_child([&] {
                if (references(mapping, held) != 2) return 1;
                for (int n = 0; n < 20; ++n) drop(mapping, make(mapping, 2000));
                drop(mapping, held);
                return 0;
            });
            CHECK_EQ(exit_code(child), 0);
            drop(mapping, held);
        }
        ended.store(true);
    });
    CHECK_EQ(audited_blocks(mapping), blocks);
}

TEST(fork_leaks_no_descriptor) {
    Mapping& mapping = tree();
    const int before = descriptors();
    for (int n = 0; n < 5; ++n) CHECK_EQ(exit_code(start_child([&] { return descriptors() == before ? 0 : 1; })), 0);
    CHECK_EQ(descriptors(), before);
    mapping.sweep();
}

TEST(a_fork_at_the_arena_s_limit_gives_a_child_without_a_record) {
    Mapping& mapping = tree();
    const std::uint64_t blocks = audited_blocks(mapping);
    std::vector<Held> held;
    inside(mapping, [&] { mapping.arena.set_limit(mapping.arena.header().backed_units.load() * kUnit); });
    for (Held each; (each = make(mapping, 4096)).slot != SharedHandles::kNoSlot;) held.push_back(each);
    for (Held each; (each = make(mapping, 8192)).slot != SharedHandles::kNoSlot;) held.push_back(each);
    std::vector<SharedBlock*> reserve;  // which a fork may use
    inside(mapping, [&] {
        for (const std::uint64_t bytes : {kUnit, std::uint64_t{4096}})
            while (SharedBlock* block = mapping.arena.heap.allocate(bytes, Kind::message, nullptr, Budget::reserve))
                reserve.push_back(block);
    });
    CHECK_EQ(exit_code(start_child([&] { return mapping.member() ? 1 : 0; })), 0);
    inside(mapping, [&] {
        for (SharedBlock* block : reserve) mapping.arena.heap.free(block);
    });
    mapping.arena.set_limit(kLimit);
    CHECK_EQ(exit_code(start_child([&] { return mapping.member() ? 0 : 1; })), 0);
    for (const Held& each : held) drop(mapping, each);
    CHECK_EQ(audited_blocks(mapping), blocks);
}

TEST(another_program_attaches_by_the_descriptor) {
    Mapping& mapping = tree();
    const std::uint64_t blocks = audited_blocks(mapping);
    const Held held = make(mapping, 100);
    std::memcpy(text_of(held), "between programs", 17);
    const std::string fd = std::to_string(mapping.system.fd), pid = std::to_string(getpid()), ref = std::to_string(held.ref);
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        execl("/proc/self/exe", "arena_mapping_test", "--attach", pid.c_str(), fd.c_str(), ref.c_str(), nullptr);
        _exit(99);
    }
    CHECK_EQ(exit_code(child), 0);
    CHECK_EQ(std::string(text_of(held)), "of the other program");
    drop(mapping, held);
    CHECK_EQ(audited_blocks(mapping), blocks);
}

TEST(what_is_no_arena_is_refused) {
    const auto refusal = [](int fd) {
        const int before = descriptors();
        AttachError error = AttachError::none;
        CHECK(Mapping::attach(fd, error) == nullptr);
        CHECK_EQ(descriptors(), before - 1, "the descriptor was taken");
        return error;
    };
    const int empty = treadle::platform::create_memory_file("empty", 0);
    CHECK(refusal(empty) == AttachError::not_an_arena);
    const int sparse = treadle::platform::create_memory_file("sparse", kCapacity);
    CHECK(refusal(sparse) == AttachError::not_an_arena);

    const auto forgery = [](auto change) {
        const int fd = treadle::platform::create_memory_file("forgery", kCapacity);
        Header<SharedWorld> header{};
        std::memcpy(static_cast<void*>(&header), &tree().arena.header(), sizeof header);
        change(header);
        CHECK_EQ(pwrite(fd, &header, sizeof header, 0), static_cast<ssize_t>(sizeof header));
        return fd;
    };
    CHECK(refusal(forgery([](auto& h) { h.version += 1; })) == AttachError::other_version);
    CHECK(refusal(forgery([](auto& h) { h.header_bytes += 64; })) == AttachError::other_version);
    CHECK(refusal(forgery([](auto& h) { h.namespaces += 1; })) == AttachError::other_namespace);
    CHECK(refusal(forgery([](auto& h) { h.magic.store(0); })) == AttachError::not_an_arena);
    CHECK(has_identity(tree().system.fd, tree().arena.header().identity));
    const std::uint64_t other[2] = {1, 2};
    CHECK(!has_identity(tree().system.fd, other));
    CHECK(Mapping::find(other) == nullptr);
}

TEST(memory_is_the_system_s_again_after_use) {
    // st_blocks of the memory file: what the arena says is backed, and the tables before the heap.
    Mapping* mapping = Mapping::create(1u << 30);
    REQUIRE(mapping != nullptr);
    const auto backed = [&] {
        struct stat info{};
        CHECK_EQ(fstat(mapping->system.fd, &info), 0);
        return static_cast<std::uint64_t>(info.st_blocks) * 512;
    };
    const auto tables = [&] { return kUnit + (mapping->arena.header().top.load() * 32 + 8191) / 4096 * 4096; };
    std::vector<Held> held;
    for (int n = 0; n < 10; ++n) held.push_back(make(*mapping, 20u << 20));
    for (const Held& each : held) REQUIRE(each.block != nullptr);
    CHECK(backed() >= 200u << 20);
    CHECK(backed() <= mapping->arena.header().backed_units.load() * kUnit + tables());
    for (const Held& each : held) drop(*mapping, each);
    CHECK(backed() <= (128u << 20) + kUnit + tables());
    // In holes that are backed again nothing of the past is left, and everything is writable.
    held.clear();
    for (int n = 0; n < 10; ++n) held.push_back(make(*mapping, 20u << 20));
    CHECK(backed() <= mapping->arena.header().backed_units.load() * kUnit + tables());
    for (const Held& each : held) drop(*mapping, each);
    audited_blocks(*mapping);
}

TEST(a_process_is_in_several_arenas_and_its_children_too) {
    Mapping& first = tree();
    Mapping* second = Mapping::create(16u << 20);
    REQUIRE(second != nullptr);
    const Token in_first = first.token();
    const Token in_second = second->register_thread("MainThread");
    CHECK(in_second != kNobody);
    CHECK_EQ(first.token(), in_first);
    CHECK_EQ(second->token(), in_second);
    const Held one = make(first, 100), two = make(*second, 100);
    CHECK_EQ(exit_code(start_child([&] {
        if (references(first, one) != 2 || references(*second, two) != 2) return 1;
        if (first.register_thread("child") == kNobody || second->register_thread("child") == kNobody) return 2;
        drop(first, one);
        drop(*second, two);
        return 0;
    })), 0);
    drop(first, one);
    drop(*second, two);
    audited_blocks(first);
    audited_blocks(*second);
    int listed = 0;
    for (Mapping* m = Mapping::first(); m != nullptr; m = m->next()) {
        ++listed;
        CHECK(m->next() == nullptr ||
              std::memcmp(m->arena.header().identity, m->next()->arena.header().identity, 16) < 0, "in order");
    }
    CHECK(listed >= 2);
}

TEST(arenas_are_made_and_looked_for_side_by_side) {
    std::atomic<unsigned> left{2};
    run_threads(3, [&](unsigned i) {
        if (i == 2) {
            while (left.load() != 0) CHECK(Mapping::find(tree().arena.header().identity) == &tree());
            return;
        }
        for (int n = 0; n < 10; ++n) {
            Mapping* made = Mapping::create(1u << 20);
            CHECK(made != nullptr && Mapping::find(made->arena.header().identity) == made);
        }
        left.fetch_sub(1);
    });
}

// The other program of another_program_attaches_by_the_descriptor.
static int attach_as_another_program(int pid, int fd, BlockRef ref) {
    check::watchdog(60);
    AttachError error;
    const int own = treadle::platform::open_foreign_file(pid, fd);
    if (own < 0) return 1;
    Mapping* mapping = Mapping::attach(own, error);
    if (mapping == nullptr || mapping->register_thread("stranger") == kNobody) return 2;
    Held held;
    inside(*mapping, [&] {
        held.block = mapping->arena.heap.resolve(ref);
        if (held.block != nullptr) held.slot = mapping->handles.add(mapping->arena, mapping->process, held.block);
    });
    if (held.slot == SharedHandles::kNoSlot) return 3;
    char* text = text_of(held);
    if (std::strcmp(text, "between programs") != 0) return 4;
    std::memcpy(text, "of the other program", 21);
    if (mapping->sweep() != 0) return 5;  // its starter lives
    return 0;                             // and leaves its reference to whoever sweeps
}

int main(int argc, char** argv) {
    Mapping::install();
    if (argc == 5 && std::string_view(argv[1]) == "--attach")
        return attach_as_another_program(std::atoi(argv[2]), std::atoi(argv[3]), std::strtoull(argv[4], nullptr, 10));
    return check::main(argc, argv);
}
