// The arena that has a path: made once, joined, left, removed; what is refused; and deaths at every system call of it.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <functional>
#include <string>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

#include "check.hpp"
#include "treadle/arena/named.hpp"

using namespace treadle::arena;
using treadle::platform::Refusal;
using treadle::word::Result;
using treadle::word::Wait;

namespace {

constexpr std::uint64_t kLimit = 64u << 20;
constexpr Text kName{"jobs", 4}, kDescription{"Queue(3)", 8};

/// A folder, and in it the path of an arena.
struct Folder {
    std::string at, path;
    Folder() {
        char name[] = "/dev/shm/treadle-named-test-XXXXXX";
        REQUIRE(mkdtemp(name) != nullptr);
        at = name;
        path = at + "/arena";
    }
    Folder(const Folder&) = delete;
    ~Folder() {
        if (unlink(path.c_str()) != 0) rmdir(path.c_str());
        unlink((at + "/other").c_str());
        rmdir(at.c_str());
    }
    bool there() const {
        struct stat info {};
        return lstat(path.c_str(), &info) == 0;
    }
};

Mapping* reach(const Folder& folder, bool make = true) {
    NamedFailure failure;
    return Named::reach(folder.path.c_str(), kLimit, make, failure);
}
NamedFailure failure_of(const Folder& folder, bool make = true) {
    NamedFailure failure;
    if (Named::reach(folder.path.c_str(), kLimit, make, failure) != nullptr) failure.error = NamedError::none;
    return failure;
}

/// A program of its own: the test itself opens nothing, so that its children share nothing but the path. It ends as
/// programs do, with what is to be done at exit.
pid_t start(const std::function<bool()>& body) {
    std::fflush(nullptr);
    const pid_t pid = fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
        check::watchdog(60);
        std::exit(body() ? 0 : 1);
    }
    return pid;
}
int ended(pid_t pid) {
    int status = 0;
    while (waitpid(pid, &status, 0) != pid) {
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
bool run(const std::function<bool()>& body) { return ended(start(body)) == 0; }

struct Pipe {
    int ends[2];
    Pipe() { REQUIRE(pipe(ends) == 0); }
    Pipe(const Pipe&) = delete;
    ~Pipe() {
        close(ends[0]);
        close(ends[1]);
    }
    template <class T>
    void put(const T& value) { CHECK(write(ends[1], &value, sizeof value) == sizeof value); }
    template <class T>
    T take() {
        T value{};
        CHECK(read(ends[0], &value, sizeof value) == sizeof value);
        return value;
    }
};

template <class Action>
void inside(Mapping& mapping, Action action) {
    mapping.insist([&](auto& who, Wait& wait) {
        if (mapping.arena.enter(who, wait) == Result::blocked) return Result::blocked;
        action();
        mapping.arena.leave();
        return Result::done;
    });
}
bool keep_one(Mapping& mapping) {
    bool named = false;
    inside(mapping, [&] {
        SharedBlock* block = mapping.arena.heap.allocate(100, Kind::queue);
        mapping.handles.add(mapping.arena, mapping.process, block);
        named = mapping.arena.names.add(block, kName, kDescription);
        if (named) mapping.arena.names.keep(block);
    });
    return named;
}
bool has_one(Mapping& mapping) {
    bool found = false;
    inside(mapping, [&] { found = mapping.arena.names.find(kName) != nullptr; });
    return found;
}

/// Changes bytes of the file's header.
template <class T>
void write_at(const Folder& folder, std::size_t offset, T value) {
    const int fd = open(folder.path.c_str(), O_RDWR);
    CHECK(pwrite(fd, &value, sizeof value, static_cast<off_t>(offset)) == sizeof value);
    close(fd);
}
void leave_one_kept(const Folder& folder) {
    CHECK(run([&] {
        Mapping* mapping = reach(folder);
        return mapping != nullptr && keep_one(*mapping);
    }));
    CHECK(folder.there());
}

using Head = Header<SharedWorld>;

}  // namespace

TEST(of_many_who_come_at_once_one_makes_it_and_all_meet) {
    for (int round = 0; round < check::scale(5, 100); ++round) {
        const Folder folder;
        Pipe go, said, end;
        std::vector<pid_t> all;
        for (int i = 0; i < 12; ++i)
            all.push_back(start([&] {
                go.take<char>();
                Mapping* mapping = reach(folder);
                if (mapping == nullptr) return false;
                said.put(mapping->arena.header().identity[0]);
                end.take<char>();
                return true;
            }));
        for (int i = 0; i < 12; ++i) go.put('g');
        const auto first = said.take<std::uint64_t>();
        for (int i = 1; i < 12; ++i) CHECK_EQ(said.take<std::uint64_t>(), first);
        struct stat info {};
        CHECK(stat(folder.path.c_str(), &info) == 0 && (info.st_mode & 07777) == 0600);
        for (int i = 0; i < 12; ++i) end.put('e');
        for (const pid_t pid : all) CHECK_EQ(ended(pid), 0);
        CHECK(!folder.there(), "the last to leave removes it");
    }
}

TEST(it_is_no_tree_s_home) {
    const Folder folder;
    CHECK(run([&] { return reach(folder) != nullptr && Mapping::home() == nullptr; }));
}

TEST(the_second_opening_is_the_first_one) {
    const Folder folder;
    CHECK(run([&] { return reach(folder) == reach(folder); }));
    CHECK(run([&] { return failure_of(folder, false).error == NamedError::absent; }));
    CHECK(!folder.there());
}

TEST(what_the_killed_leave_is_removed_by_who_looks) {
    const Folder folder;
    Pipe ready;
    const pid_t pid = start([&] {
        if (reach(folder) == nullptr) return false;
        ready.put('r');
        pause();
        return true;
    });
    ready.take<char>();
    CHECK(run([&] { return reach(folder, false) != nullptr; }), "while it lives it is joined");
    CHECK(folder.there());
    kill(pid, SIGKILL);
    CHECK_EQ(ended(pid), 128 + SIGKILL);
    CHECK(folder.there());
    CHECK(run([&] {
        const NamedFailure failure = failure_of(folder, false);
        return failure.error == NamedError::absent && failure.removed;
    }));
    CHECK(!folder.there());
}

TEST(a_child_of_fork_is_in_it_when_its_parent_has_ended) {
    const Folder folder;
    Pipe go, said;
    CHECK(run([&] {
        Mapping* mapping = reach(folder);
        if (mapping == nullptr) return false;
        start([&] {
            go.take<char>();
            const bool in = mapping->member() && reach(folder) == mapping;
            said.put(in);
            go.take<char>();
            return true;
        });
        return true;
    }));
    CHECK(folder.there());
    go.put('g');
    CHECK(said.take<bool>());
    go.put('g');
    // It is nobody's child now: its end shows by the file's.
    while (folder.there()) usleep(1000);
}

TEST(who_has_closed_all_descriptors_is_still_in_and_comes_back) {
    const Folder folder;
    CHECK(run([&] {
        Mapping* mapping = reach(folder);
        if (mapping == nullptr) return false;
        for (int fd = 3; fd < 64; ++fd) close(fd);
        if (!run([&] { return has_one(*reach(folder)) == false; })) return false;
        return folder.there() && reach(folder) == mapping && mapping->system.has_file();
    }));
    CHECK(!folder.there());
}

TEST(what_is_to_stay_is_met_by_who_comes_later) {
    const Folder folder;
    leave_one_kept(folder);
    CHECK(run([&] { return has_one(*reach(folder)); }));
    CHECK(folder.there());
    CHECK(run([&] {
        Mapping* mapping = reach(folder, false);
        inside(*mapping, [&] { mapping->arena.names.release(mapping->arena.names.object_of(mapping->arena.names.find(kName))); });
        return true;
    }));
    CHECK(!folder.there());
}

TEST(persistence_in_vain_does_not_keep_the_file) {
    const Folder folder;
    CHECK(run([&] {
        reach(folder)->arena.header().may_persist = 1;
        return true;
    }));
    CHECK(folder.there());
    CHECK(run([&] { return reach(folder, false) != nullptr; }));
    CHECK(!folder.there());
}

TEST(what_another_user_could_be_behind_is_refused) {
    const auto refusal = [](const Folder& folder) {
        const NamedFailure failure = failure_of(folder);
        CHECK(failure.error == NamedError::refused);
        CHECK(folder.there());
        return failure.refused.why;
    };
    {
        const Folder folder;
        REQUIRE(symlink((folder.at + "/other").c_str(), folder.path.c_str()) == 0);
        CHECK(refusal(folder) == Refusal::symbolic_link);
    }
    {
        const Folder folder;
        REQUIRE(mkdir(folder.path.c_str(), 0700) == 0);
        CHECK(refusal(folder) == Refusal::not_regular);
    }
    {
        const Folder folder;
        REQUIRE(mkfifo(folder.path.c_str(), 0600) == 0);
        CHECK(refusal(folder) == Refusal::not_regular);
    }
    for (const mode_t mode : {0640, 0606, 0601, 0620}) {
        const Folder folder;
        close(open(folder.path.c_str(), O_CREAT | O_RDWR, 0600));
        REQUIRE(chmod(folder.path.c_str(), mode) == 0);
        CHECK(refusal(folder) == Refusal::exposed);
    }
    {
        const Folder folder;
        close(open(folder.path.c_str(), O_CREAT | O_RDWR, 0600));
        REQUIRE(link(folder.path.c_str(), (folder.at + "/other").c_str()) == 0);
        CHECK(refusal(folder) == Refusal::hard_linked);
    }
    if (geteuid() == 0) {
        const Folder folder;
        close(open(folder.path.c_str(), O_CREAT | O_RDWR, 0600));
        REQUIRE(chown(folder.path.c_str(), 12345, 12345) == 0);
        CHECK(refusal(folder) == Refusal::foreign);
    }
    {
        Folder folder;
        folder.path = folder.at + "/none/arena";
        const NamedFailure failure = failure_of(folder);
        CHECK(failure.error == NamedError::refused && failure.refused.why == Refusal::system && failure.refused.error == ENOENT);
    }
}

TEST(what_is_not_ours_is_left_as_it_is) {
    const Folder folder;
    const int fd = open(folder.path.c_str(), O_CREAT | O_RDWR, 0600);
    const std::string letter(4096, 'x');
    CHECK(write(fd, letter.data(), letter.size()) == 4096);
    close(fd);
    CHECK(run([&] { return failure_of(folder).error == NamedError::not_an_arena; }));
    CHECK(folder.there());
    REQUIRE(truncate(folder.path.c_str(), 10) == 0);
    CHECK(run([&] { return failure_of(folder).error == NamedError::not_an_arena; }));
    CHECK(folder.there());
}

TEST(what_was_cut_short_is_said_to_be) {
    const Folder folder;
    leave_one_kept(folder);
    REQUIRE(truncate(folder.path.c_str(), 1 << 20) == 0);
    CHECK(run([&] { return failure_of(folder).error == NamedError::damaged; }));
    CHECK(folder.there());
}

TEST(a_half_made_one_is_made_anew) {
    for (const off_t size : {off_t{0}, static_cast<off_t>(kCapacity)}) {
        const Folder folder;
        const int fd = open(folder.path.c_str(), O_CREAT | O_RDWR, 0600);
        REQUIRE(ftruncate(fd, size) == 0);
        close(fd);
        if (size != 0) write_at(folder, offsetof(Head, version), 77u);  // written before the magic
        CHECK(run([&] { return failure_of(folder, false).error == NamedError::absent; }));
        CHECK(run([&] { return reach(folder) != nullptr; }));
        CHECK(!folder.there());
    }
}

TEST(another_layout_is_refused_unless_nothing_can_be_in_it) {
    const Folder folder;
    leave_one_kept(folder);
    write_at(folder, offsetof(Head, version), kLayoutVersion + 1);
    CHECK(run([&] { return failure_of(folder).error == NamedError::other_version; }));
    write_at(folder, offsetof(Head, may_persist), 0u);
    CHECK(run([&] { return reach(folder) != nullptr; }));
    CHECK(!folder.there());
}

TEST(what_is_of_another_boot_is_gone) {
    const Folder folder;
    leave_one_kept(folder);
    write_at(folder, offsetof(Head, boot), treadle::platform::current_boot() + 2);
    CHECK(run([&] { return !has_one(*reach(folder)); }));
}

TEST(what_is_of_another_namespace_is_taken_over_once_nobody_is_in_it) {
    const Folder folder;
    leave_one_kept(folder);
    write_at(folder, offsetof(Head, namespaces), std::uint64_t{0x1234});
    Pipe said, end;
    const pid_t pid = start([&] {
        Mapping* mapping = reach(folder);
        said.put(mapping != nullptr && has_one(*mapping) && mapping->arena.registry.live_processes() == 1);
        end.take<char>();
        return true;
    });
    CHECK(said.take<bool>());
    write_at(folder, offsetof(Head, namespaces), std::uint64_t{0x1234});
    CHECK(run([&] { return failure_of(folder).error == NamedError::other_namespace; }));
    write_at(folder, offsetof(Head, namespaces), treadle::platform::namespaces());
    end.put('e');
    CHECK_EQ(ended(pid), 0);
}

TEST(a_file_that_was_removed_by_hand_is_not_met_again) {
    const Folder folder;
    CHECK(run([&] {
        Mapping* first = reach(folder);
        unlink(folder.path.c_str());
        Mapping* second = reach(folder);
        return second != nullptr && second != first && second == reach(folder);
    }));
    CHECK(!folder.there());
}

// Under a sanitizer a program makes other system calls, and thousands of them.
TEST(a_death_at_any_system_call_of_coming_and_going_is_survived) {
    if (check::sanitized) return;
    for (const bool kept : {false, true}) {
        bool over = false;
        unsigned calls = 0;
        for (; !over && calls < 2000; ++calls) {
            const Folder folder;
            if (kept) leave_one_kept(folder);
            const pid_t pid = start([&] {
                ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
                raise(SIGSTOP);
                return reach(folder) != nullptr;
            });
            int status = 0;
            for (unsigned n = 0; n <= calls && !over; ++n) {
                REQUIRE(waitpid(pid, &status, 0) == pid);
                over = WIFEXITED(status);
                if (!over && n < calls) ptrace(PTRACE_SYSCALL, pid, nullptr, nullptr);
            }
            if (!over) {
                kill(pid, SIGKILL);
                CHECK_EQ(ended(pid), 128 + SIGKILL);
            }
            CHECK(run([&] {
                Mapping* mapping = reach(folder);
                return mapping != nullptr && has_one(*mapping) == kept && mapping->arena.registry.live_processes() == 1;
            }));
            CHECK_EQ(folder.there(), kept);
        }
        CHECK(over);
        CHECK(calls > 40u);
    }
}

int main(int argc, char** argv) {
    Mapping::install();
    return check::main(argc, argv);
}
