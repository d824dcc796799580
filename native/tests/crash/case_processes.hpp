// crash/case_processes.hpp: the processes of one case: victims that are stepped and killed, verifiers, peers.
#pragma once

#include <new>
#include <string>

#include "crash_case.hpp"
#include "watched_process.hpp"

namespace step_kill {

// Values of `kill_at` besides a number of instructions.
inline constexpr std::uint64_t never = UINT64_MAX;
inline constexpr std::uint64_t at_the_end = UINT64_MAX - 1;  // after the last instruction, whatever its number

enum class Role { operation, recovery };

struct Victim {
    pid_t pid = 0;
    bool finished = false;                  // outlived its operation and exited
    std::uint64_t steps = 0;                // instructions executed
    std::uintptr_t executed = 0, next = 0;  // the last of them, and the one that follows
    std::string problem;                    // "" if it was killed as asked, or finished
};

class CaseProcesses {
public:
    CaseProcesses(const AnyCase& subject, Stepper stepper)
        : case_(subject), stepper_(stepper), memory_(subject.file_bytes, subject.bytes),
          control_(new (map_shared(sizeof(Control))) Control) {
        current_memory = &memory_;
    }
    ~CaseProcesses() {
        munmap(control_, sizeof(Control));
        current_memory = nullptr;
    }
    CaseProcesses(const CaseProcesses&) = delete;
    CaseProcesses& operator=(const CaseProcesses&) = delete;

    SharedMemory& memory() noexcept { return memory_; }

    // Runs a victim to its death or end. With `keep_zombie` the caller must `reap` it. A journal must have begun.
    Victim run_victim(Role role, std::uint64_t kill_at, Journal* journal, bool keep_zombie) {
        Control& c = *control_;
        c.kill_at = kill_at;
        c.limit = case_.max_instructions;
        c.steps = 0;
        c.executed = c.next = 0;
        c.end = end_address(stepper_);
        c.journal = journal;
        c.begun = c.finished = c.runaway = false;
        const StepSink sink{on_step, &c};
        Victim victim;
        victim.pid = start_watched(c.victim, case_.watchdog_seconds, [&] {
            case_.prepare(memory_.base(), role == Role::recovery);
            call_stepped(stepper_, role == Role::recovery ? run_recovery : run_operation, this, sink);
            c.finished = true;
        });
        const Ended ended = wait_for_end(victim.pid, c.victim, case_.watchdog_seconds, keep_zombie, sink);
        victim.finished = c.finished;
        victim.steps = c.steps;
        victim.executed = c.executed;
        victim.next = c.next;
        victim.problem = problem_of_victim(ended, role, kill_at);
        return victim;
    }

    // Runs the case's verifier in a process of its own; "" if all is well.
    std::string run_verifier(const Crash& crash) {
        Report& report = control_->verifier;
        const pid_t pid =
            start_watched(report, case_.watchdog_seconds, [&] { report.say(case_.verify(memory_.base(), crash)); });
        return end_of_witness(pid, "the verifier", report);
    }

    pid_t start_peer() {
        Report& report = control_->peer;
        return start_watched(report, case_.watchdog_seconds, [&] { report.say(case_.peer(memory_.base())); });
    }

    std::string end_of_peer(pid_t pid) { return end_of_witness(pid, "the peer", control_->peer); }

private:
    // Shared with the children, so that it tells where they were when they died.
    struct Control {
        std::uint64_t kill_at = 0, limit = 0, steps = 0;
        std::uintptr_t executed = 0, next = 0, end = 0;
        Journal* journal = nullptr;
        bool begun = false, finished = false, runaway = false;
        Report victim, verifier, peer;
    };

    static bool on_step(void* self, std::uintptr_t next) noexcept {
        auto& c = *static_cast<Control*>(self);
        if (c.begun) ++c.steps;
        c.begun = true;
        c.executed = c.next;
        c.next = next;
        if (c.journal != nullptr) c.journal->note(c.steps, c.executed, next);
        c.runaway = c.steps > c.limit;
        return c.steps == c.kill_at || (c.kill_at == at_the_end && next == c.end) || c.runaway;
    }

    static void run_operation(void* self) {
        const auto& processes = *static_cast<CaseProcesses*>(self);
        processes.case_.operation(processes.memory_.base());
    }
    static void run_recovery(void* self) {
        const auto& processes = *static_cast<CaseProcesses*>(self);
        processes.case_.recovery(processes.memory_.base());
    }

    std::string problem_of_victim(const Ended& ended, Role role, std::uint64_t kill_at) const {
        const Control& c = *control_;
        const std::string who = role == Role::recovery ? "the recovery" : "the operation";
        if (ended.how == End::killed) {
            if (c.runaway) return who + " did not end within " + std::to_string(c.limit) + " instructions";
            const bool as_asked = kill_at == at_the_end ? c.next == c.end : c.steps == kill_at;
            return as_asked ? "" : who + "'s process was killed by another hand";
        }
        std::string problem = problem_of(ended, who, c.victim);
        if (problem.empty() && !c.finished) problem = who + " exited";
        if (problem.empty() && kill_at == at_the_end) problem = who + " did not pass its last instruction";
        return problem;
    }

    std::string end_of_witness(pid_t pid, const char* who, Report& report) {
        const Ended ended = wait_for_end(pid, report, case_.watchdog_seconds, false);
        const std::string problem = problem_of(ended, who, report);
        return problem.empty() ? report.message : problem;
    }

    static std::string problem_of(const Ended& ended, const std::string& who, const Report& report) {
        switch (ended.how) {
            case End::hung: return who + " hung; its watchdog found it at" + stack_text(report);
            case End::crashed:
                return who + " died of signal " + std::to_string(ended.code) + " (" + strsignal(ended.code) + ") at" +
                       stack_text(report);
            case End::killed: return who + " was killed by another hand";
            case End::exited: break;
        }
        return ended.code == 0 ? "" : who + " exited with " + std::to_string(ended.code);
    }

    const AnyCase& case_;
    const Stepper stepper_;
    SharedMemory memory_;
    Control* control_;
};

}  // namespace step_kill
