// crash/watched_process.hpp: forked processes that end, one way or another, and say where they were.
//
// Every process has two watchdogs: its own alarm, whose handler stores the stack and exits; and its parent, which sends
// SIGKILL some seconds later if even that did not work. Crashes store their stack the same way. A process dies with its
// parent (PR_SET_PDEATHSIG), so that an interrupted run leaves nothing behind.
#pragma once

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <dlfcn.h>
#include <elf.h>
#include <execinfo.h>
#include <string>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utility>

#include "single_step.hpp"

namespace step_kill {

inline double seconds_now() noexcept {
    timespec t{};
    clock_gettime(CLOCK_MONOTONIC, &t);
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

// What a process tells its parent. Lies in shared memory, and is cleared before each fork.
struct Report {
    int signal = 0;         // of the watchdog (SIGALRM) or of a crash; 0: neither
    int depth = 0;
    void* stack[48] = {};
    char message[4096] = {};

    void say(const std::string& text) noexcept {
        const std::size_t length = std::min(text.size(), sizeof message - 1);
        std::memcpy(message, text.data(), length);
        message[length] = 0;
    }
};

enum class End { exited, killed, crashed, hung };

struct Ended {
    End how = End::exited;
    int code = 0;  // exit status or signal
};

inline Report* report_of_this_process = nullptr;

inline void store_stack_and_exit(int signal) noexcept {
    if (Report* report = report_of_this_process) {
        report->signal = signal;
        report->depth = backtrace(report->stack, static_cast<int>(std::size(report->stack)));
    }
    _exit(125);
}

// Forks a process that runs `body` and exits with 0. Call only while this process has a single thread.
template <class Body>
pid_t start_watched(Report& report, unsigned seconds, Body&& body) {
    std::memset(static_cast<void*>(&report), 0, sizeof report);
    std::fflush(nullptr);
    const pid_t parent = getpid();
    const pid_t pid = fork();
    if (pid < 0) {
        std::perror("fork");
        std::exit(1);
    }
    if (pid > 0) return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(1);
    report_of_this_process = &report;
    struct sigaction action{};
    action.sa_handler = store_stack_and_exit;
    action.sa_flags = SA_RESETHAND;
    for (const int signal : {SIGALRM, SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT}) sigaction(signal, &action, nullptr);
    alarm(seconds);
    body();
    _exit(0);
}

// Waits for the end of a process; `keep_zombie` leaves it unreaped. Serves the stops of a traced one as they come.
inline Ended wait_for_end(pid_t pid, Report& report, unsigned seconds, bool keep_zombie, StepSink sink = {}) {
    const double deadline = seconds_now() + seconds + 3;
    bool stepping = false;
    for (;;) {
        siginfo_t info{};
        if (waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WSTOPPED | WNOWAIT) != 0) {
            if (errno != EINTR) {
                std::perror("waitid");
                std::exit(1);
            }
            if (seconds_now() > deadline) {  // its own watchdog did not work
                kill(pid, SIGKILL);
                report.signal = SIGALRM;
            }
            continue;
        }
        const bool stopped = info.si_code == CLD_TRAPPED || info.si_code == CLD_STOPPED;
        if (stopped || !keep_zombie) {
            siginfo_t taken{};
            waitid(P_PID, static_cast<id_t>(pid), &taken, WEXITED | WSTOPPED);
            info = taken;
        }
        if (info.si_code == CLD_TRAPPED || info.si_code == CLD_STOPPED) {
            react_to_stop(pid, info.si_status, stepping, sink);
            continue;
        }
        if (report.signal == SIGALRM) return {End::hung, SIGALRM};
        if (report.signal != 0) return {End::crashed, report.signal};
        if (info.si_code == CLD_EXITED) return {End::exited, info.si_status};
        if (info.si_status == SIGKILL) return {End::killed, SIGKILL};
        return {End::crashed, info.si_status};
    }
}

inline void reap(pid_t pid) noexcept {
    while (waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {}
}

inline int tick_signal() noexcept { return SIGRTMIN + 6; }

// The parent's watchdog: a tick that makes waitid return EINTR, so that `wait_for_end` sees its deadline pass. It has a
// timer of its own: alarm() belongs to whoever watches the whole program.
inline void start_ticking() {
    static timer_t timer;
    static bool started = false;
    if (std::exchange(started, true)) return;
    struct sigaction action{};
    action.sa_handler = [](int) {};
    sigaction(tick_signal(), &action, nullptr);
    sigevent event{};
    event.sigev_notify = SIGEV_SIGNAL;
    event.sigev_signo = tick_signal();
    const itimerspec every{{0, 200'000'000}, {0, 200'000'000}};
    if (timer_create(CLOCK_MONOTONIC, &event, &timer) != 0 || timer_settime(timer, 0, &every, nullptr) != 0) {
        std::perror("timer_create");
        std::exit(1);
    }
    void* warm[1];
    backtrace(warm, 1);  // loads the unwinder, which a signal handler could not
}

// An address as `module+0xoffset`, for addr2line, and what addr2line makes of it where there is one.
inline std::string symbolise(std::uintptr_t address, bool is_return_address = false) {
    Dl_info info{};
    char text[1024];
    if (dladdr(reinterpret_cast<void*>(address), &info) == 0 || info.dli_fname == nullptr) {
        std::snprintf(text, sizeof text, "0x%lx", static_cast<unsigned long>(address));
        return text;
    }
    const bool relocatable = static_cast<const Elf64_Ehdr*>(info.dli_fbase)->e_type == ET_DYN;
    const auto base = relocatable ? reinterpret_cast<std::uintptr_t>(info.dli_fbase) : 0;
    const auto offset = static_cast<unsigned long>(address - base);
    std::snprintf(text, sizeof text, "%s+0x%lx", info.dli_fname, offset);
    std::string result = text;
    if (info.dli_sname != nullptr) result += std::string(" ") + info.dli_sname;
    std::snprintf(text, sizeof text, "addr2line -Cfipse '%s' 0x%lx 2>/dev/null", info.dli_fname,
                  offset - (is_return_address ? 1 : 0));
    sigset_t tick, before;  // would interrupt the reading below
    sigemptyset(&tick);
    sigaddset(&tick, tick_signal());
    sigprocmask(SIG_BLOCK, &tick, &before);
    if (FILE* pipe = popen(text, "r")) {
        bool first = true;
        while (std::fgets(text, sizeof text, pipe) != nullptr) {
            text[std::strcspn(text, "\n")] = 0;
            if (std::strncmp(text, "??", 2) == 0) continue;
            result += (first ? "\n        in " : "\n       ") + std::string(text);
            first = false;
        }
        pclose(pipe);
    }
    sigprocmask(SIG_SETMASK, &before, nullptr);
    return result;
}

// The stack, without the handler that stored it and without the harness's own callers.
inline std::string stack_text(const Report& report) {
    constexpr int handler_and_its_return = 2;
    std::string text;
    for (int i = handler_and_its_return; i < report.depth; ++i) {
        const auto address = reinterpret_cast<std::uintptr_t>(report.stack[i]);
        const std::string frame = symbolise(address, i > handler_and_its_return);
        if (frame.find("step_kill_call_") != std::string::npos) break;
        if (frame.find("step_kill::start_watched") != std::string::npos) break;
        text += "\n      " + frame;
    }
    return text.empty() ? " (no stack)" : text;
}

}  // namespace step_kill
