// check.hpp: the test macros of the native tests.
//
//     #include "check.hpp"
//
//     TEST(a_released_lock_is_free) {
//         CHECK(lock.try_acquire());
//         CHECK_EQ(lock.owner(), 7u) ;
//         REQUIRE(fd >= 0);          // as CHECK, but ends this test when it fails
//     }
//
//     int main(int argc, char** argv) { return check::main(argc, argv); }
//
// The program runs its tests in the order of the file, prints every failed check (up to a limit) and, last,
// `N checks` (`N checks, F failed`); it returns 0 if none failed, else 1. Checks may be made from any thread.
// A failed CHECK is counted and the test goes on, so it may be used where an exception could not be thrown.
//
// Flags of every test program:
//     --soak            the long version: check::soak() is true, check::scale(short, long) gives the second
//     --only TEXT       run the tests whose name contains TEXT
//     --list            print the names of the tests
//     --watchdog S      seconds that one test may take (120; 1800 with --soak); then all stacks are printed and the
//                       program fails. 0: none, for a debugger
//     --name=VALUE      anything else of this form is for the test: check::flag("name")
//
// A child process made by fork() inherits no watchdog (the alarm is the parent's); call check::watchdog(S) in it.
#pragma once

#include <dirent.h>
#include <execinfo.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <sstream>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define CHECK_SANITIZED_ 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define CHECK_SANITIZED_ 1
#endif
#endif
#ifndef CHECK_SANITIZED_
#define CHECK_SANITIZED_ 0
#endif

#define CHECK_JOIN2_(a, b) a##b
#define CHECK_JOIN_(a, b) CHECK_JOIN2_(a, b)

/// Defines a test and adds it to the program's list.
#define TEST(name)                                                                               \
    static void test_##name();                                                                   \
    static const ::check::Registration CHECK_JOIN_(registration_, name){#name, &test_##name};    \
    static void test_##name()

/// CHECK(condition, parts of a message...): counts one check; the message is built only when it fails.
#define CHECK(condition, ...)                                                                    \
    ((condition) ? ::check::passed()                                                             \
                 : ::check::failed(__FILE__, __LINE__, #condition __VA_OPT__(, ::check::text(__VA_ARGS__))))

/// CHECK_EQ(actual, expected, parts of a message...): prints both values when they differ.
#define CHECK_EQ(actual, expected, ...)                                                          \
    ::check::equal(__FILE__, __LINE__, #actual " == " #expected, (actual),                       \
                   (expected)__VA_OPT__(, [&] { return ::check::text(__VA_ARGS__); }))

/// As CHECK, but a failure ends the test (by an exception: not across noexcept).
#define REQUIRE(condition, ...)                                                                  \
    do {                                                                                         \
        if (!CHECK(condition __VA_OPT__(, ) __VA_ARGS__)) throw ::check::Abandoned{};            \
    } while (false)

namespace check {

/// True in ASan, TSan and MSan builds, for constants that have to shrink there.
inline constexpr bool sanitized = CHECK_SANITIZED_ != 0;

struct Abandoned {};

struct Test {
    const char* name;
    void (*body)();
};

namespace detail {

inline std::vector<Test>& tests() {
    static std::vector<Test> all;
    return all;
}

struct State {
    std::atomic<unsigned long long> checks{0};
    std::atomic<unsigned long long> failures{0};
    std::atomic<unsigned> printed{0};
    bool soak = false;
    const char* running = "";
    std::vector<std::string> flags;
};

inline State& state() {
    static State one;
    return one;
}

template <class T>
void print(std::ostringstream& out, const T& value) {
    if constexpr (std::is_same_v<T, std::byte>) {
        out << "0x" << std::hex << static_cast<unsigned>(value) << std::dec;
    } else if constexpr (std::is_same_v<T, char> || std::is_same_v<T, signed char> || std::is_same_v<T, unsigned char>) {
        out << static_cast<int>(value);
    } else if constexpr (requires { out << value; }) {
        out << std::boolalpha << value;
        if constexpr (std::is_integral_v<T> && sizeof(T) == 8) {
            const auto bits = static_cast<unsigned long long>(value);
            if (bits >= 10000000) out << " (0x" << std::hex << bits << std::dec << ')';
        }
    } else if constexpr (std::is_enum_v<T>) {
        out << +static_cast<std::underlying_type_t<T>>(value);
    } else {
        out << "<value of " << sizeof(T) << " bytes>";
    }
}

}  // namespace detail

/// The parts, one after another, as text.
template <class... Parts>
std::string text(const Parts&... parts) {
    if constexpr (sizeof...(parts) == 0) {
        return {};
    } else {
        std::ostringstream out;
        (detail::print(out, parts), ...);
        return out.str();
    }
}

struct Registration {
    Registration(const char* name, void (*body)()) { detail::tests().push_back({name, body}); }
};

// The programs are mostly checks, and built often: what a check costs the compiler is kept out of line.
[[gnu::noinline]] inline bool passed() {
    detail::state().checks.fetch_add(1, std::memory_order_relaxed);
    return true;
}

[[gnu::noinline, gnu::cold]] inline bool failed(const char* file, int line, const char* condition,
                                                const std::string& message = {}) {
    constexpr unsigned print_limit = 50;  // a broken loop must not bury the first failure
    detail::State& state = detail::state();
    state.checks.fetch_add(1, std::memory_order_relaxed);
    state.failures.fetch_add(1, std::memory_order_relaxed);
    const unsigned printed = state.printed.fetch_add(1, std::memory_order_relaxed);
    if (printed < print_limit) {
        std::fprintf(stderr, "%s:%d: in %s: failed: %s%s%s\n", file, line, state.running, condition,
                     message.empty() ? "" : ": ", message.c_str());
    } else if (printed == print_limit) {
        std::fprintf(stderr, "(further failures are counted, not printed)\n");
    }
    std::fflush(stderr);
    return false;
}

template <class A, class B>
[[gnu::noinline, gnu::cold]] bool differ(const char* file, int line, const char* condition, const A& actual,
                                         const B& expected, const std::string& more = {}) {
    return failed(file, line, condition, text("got ", actual, ", expected ", expected, more.empty() ? "" : ": ", more));
}

template <class A, class B>
bool same(const A& actual, const B& expected) {
    if constexpr (std::is_integral_v<A> && std::is_integral_v<B> && !std::is_same_v<A, bool> && !std::is_same_v<B, bool>) {
        // std::cmp_equal rejects character types; compare as mathematics would.
        return (actual < A{}) == (expected < B{}) &&
               static_cast<unsigned long long>(actual) == static_cast<unsigned long long>(expected);
    } else {
        return actual == expected;
    }
}

template <class A, class B, class... Message>
bool equal(const char* file, int line, const char* condition, const A& actual, const B& expected, Message... message) {
    return same(actual, expected) ? passed() : differ(file, line, condition, actual, expected, message()...);
}

/// True when the program was started with --soak.
inline bool soak() { return detail::state().soak; }

/// The size of a test: the first in an ordinary run, the second in a soak.
template <class T>
constexpr T scale(T ordinary, T long_run) {
    return soak() ? long_run : ordinary;
}

/// The value of `--name=VALUE` on the command line, or the default.
inline std::string flag(std::string_view name, std::string_view otherwise = {}) {
    for (const std::string& given : detail::state().flags) {
        if (given.size() > name.size() && given.compare(0, name.size(), name) == 0 && given[name.size()] == '=') {
            return given.substr(name.size() + 1);
        }
    }
    return std::string(otherwise);
}

inline unsigned long long checks() { return detail::state().checks.load(std::memory_order_relaxed); }
inline unsigned long long failures() { return detail::state().failures.load(std::memory_order_relaxed); }

namespace detail {

inline int dump_signal() { return SIGRTMIN + 5; }

inline std::atomic<int>& dumped() {
    static std::atomic<int> count{0};
    return count;
}

inline void say(const char* words) {
    // Nothing can be done about a write that fails while the program is dying.
    [[maybe_unused]] const auto written = ::write(STDERR_FILENO, words, std::strlen(words));
}

inline void print_own_stack(int) {
    void* frames[64];
    char line[64];
    std::snprintf(line, sizeof line, "\nthread %ld\n", static_cast<long>(::syscall(SYS_gettid)));
    say(line);
    ::backtrace_symbols_fd(frames, ::backtrace(frames, 64), STDERR_FILENO);
    dumped().fetch_add(1);
}

inline void on_watchdog(int) {
    // If printing hangs as well (a lock inside the allocator), the second alarm ends the program.
    ::signal(SIGALRM, SIG_DFL);
    ::alarm(20);
    say("\nwatchdog: test ");
    say(state().running);
    say(" does not end; the stacks of all threads follow\n");
    const auto own = static_cast<pid_t>(::syscall(SYS_gettid));
    print_own_stack(0);
    if (DIR* tasks = ::opendir("/proc/self/task")) {
        while (const dirent* entry = ::readdir(tasks)) {
            const auto thread = static_cast<pid_t>(std::atoi(entry->d_name));
            if (thread <= 0 || thread == own) continue;
            const int before = dumped().load();
            if (::syscall(SYS_tgkill, ::getpid(), thread, dump_signal()) != 0) continue;
            for (int i = 0; i < 100 && dumped().load() == before; ++i) {
                const timespec pause{0, 10'000'000};
                ::nanosleep(&pause, nullptr);
            }
        }
        ::closedir(tasks);
    }
    say("\nwatchdog: failed\n");
    ::_exit(1);
}

}  // namespace detail

/// Arms the watchdog of this process anew: in `seconds`, print all stacks and fail. 0 disarms it.
inline void watchdog(unsigned seconds) {
    struct sigaction action {};
    action.sa_handler = &detail::on_watchdog;
    ::sigaction(SIGALRM, &action, nullptr);
    struct sigaction dump {};
    dump.sa_handler = &detail::print_own_stack;
    dump.sa_flags = SA_RESTART;
    ::sigaction(detail::dump_signal(), &dump, nullptr);
    ::alarm(seconds);
}

/// Runs the registered tests; see the top of the file for the flags and what it prints.
inline int main(int argc, char** argv) {
    std::string_view only;
    bool list = false;
    long limit = -1;
    detail::State& state = detail::state();
    for (int i = 1; i < argc; ++i) {
        const std::string_view argument = argv[i];
        if (argument == "--soak") {
            state.soak = true;
        } else if (argument == "--list") {
            list = true;
        } else if (argument == "--only" && i + 1 < argc) {
            only = argv[++i];
        } else if (argument == "--watchdog" && i + 1 < argc) {
            limit = std::strtol(argv[++i], nullptr, 10);
        } else if (argument.starts_with("--") && argument.find('=') != std::string_view::npos) {
            state.flags.emplace_back(argument.substr(2));
        } else {
            std::fprintf(stderr, "%s: unknown argument %s; known: --soak --list --only TEXT --watchdog S --name=VALUE\n",
                         argv[0], argv[i]);
            return 2;
        }
    }
    if (limit < 0) limit = state.soak ? 1800 : 120;
    // The first call of backtrace() loads a library, which a signal handler must not do.
    void* frame[1];
    ::backtrace(frame, 1);

    std::size_t run = 0;
    for (const Test& test : detail::tests()) {
        if (!only.empty() && std::string_view(test.name).find(only) == std::string_view::npos) continue;
        ++run;
        if (list) {
            std::printf("%s\n", test.name);
            continue;
        }
        state.running = test.name;
        watchdog(static_cast<unsigned>(limit));
        try {
            test.body();
        } catch (const Abandoned&) {
        } catch (const std::exception& error) {
            failed(test.name, 0, "no exception", error.what());
        }
        watchdog(0);
    }
    if (list) return 0;
    if (run == 0) {
        std::fprintf(stderr, "%s: no test's name contains '%s'\n", argv[0], std::string(only).c_str());
        return 2;
    }
    if (failures() != 0) {
        std::printf("%llu checks, %llu failed\n", checks(), failures());
    } else {
        std::printf("%llu checks\n", checks());
    }
    std::fflush(stdout);
    return failures() == 0 ? 0 : 1;
}

}  // namespace check
