// crash/case_run.hpp: one case through its crash points, in two modes.
//
// kill      for k = 0, 1, 2, …: restore the state, fork a victim, step it through k instructions, SIGKILL it there,
//           verify in another process; until the victim outlives its operation. Proves that a real death at each of
//           these instructions, with all that the kernel does then, is survived. Costs O(n²) steps for n instructions.
// snapshot  one stepped run to the last instruction, killed there, with the journal holding every distinct state that
//           the shared memory went through; then each of them is restored and verified, with the victim dead. Proves
//           that each state in which a death at an instruction can leave the memory is recoverable. It does not show
//           what else the kernel holds at a death in mid-operation: locks and robust lists of its own, descriptors,
//           file length, waiters already woken. Costs O(n) steps and one verification for each state.
// second victims: after a first death in each state, the case's recovery is treated both ways: every state that it goes
//           through, and real kills of both victims at the first instruction of both states.
//
// The quick run samples each of these by a stride with a random phase. Soak omits no state; it strides over kills only in
// cases whose kills would take longer than `kill_seconds` (some 10,000 instructions), and says so; and second victims are
// what `pair_seconds` allow.
//
// What neither shows: other interleavings. The victim runs alone (or beside a peer, unscheduled), and on one core: that
// memory orders suffice between live threads is for the schedules to show.
#pragma once

#include <algorithm>
#include <cmath>
#include <functional>
#include <optional>
#include <random>

#include "case_processes.hpp"

namespace step_kill {

enum class Mode { both, kill, snapshot };

struct Options {
    bool soak = false;          // every point; otherwise as many as `seconds` allow
    double seconds = 5;         // for all cases together, unless soak
    double kill_seconds = 90;   // under soak, for the kills of a case
    double pair_seconds = 60;   // under soak, for the second victims of a case
    Mode mode = Mode::both;
    Stepper stepper = default_stepper;
    std::uint64_t seed = 0;     // of the phases
    std::optional<std::uint64_t> stride, point, second;
};

struct Tally {
    std::uint64_t checks = 0;         // verifications
    std::uint64_t instructions = 0;   // of the whole operation (its longest run)
    std::uint64_t kills = 0;          // real deaths of a first victim, each verified
    std::uint64_t states = 0;         // restored and verified
    std::uint64_t second_kills = 0;   // real deaths of both victims
    std::uint64_t second_states = 0;  // states after a second death, restored and verified
    std::uint64_t kill_stride = 1;    // kills at every so many instructions

    void add(const Tally& other) noexcept {
        checks += other.checks;
        instructions += other.instructions;
        kills += other.kills;
        states += other.states;
        second_kills += other.second_kills;
        second_states += other.second_states;
        kill_stride = std::max(kill_stride, other.kill_stride);
    }
    std::uint64_t crash_points() const noexcept { return kills + states + second_kills + second_states; }
};

struct Failure {
    std::string case_name;
    std::string message;
    Mode mode = Mode::kill;
    std::uint64_t point = 0;
    std::optional<std::uint64_t> second;
    bool finished = false;                  // the (last) victim was not killed
    std::uint64_t instructions = 0;         // of the whole operation; 0: not known yet
    std::uintptr_t executed = 0, next = 0;  // around the (last) death
};

class CaseRun {
public:
    CaseRun(const AnyCase& subject, const Options& options, double seconds)
        : case_(subject), options_(options), seconds_(seconds), processes_(subject, options.stepper),
          memory_(processes_.memory()), random_(options.seed ^ std::hash<std::string>{}(subject.name)) {}

    // Goes on to the first failure.
    std::optional<Failure> run() {
        case_.setup(memory_.base());
        memory_.save(start_);
        if (options_.point) {
            run_one_point();
        } else if (kill_once(never)) {
            const bool snapshots = options_.mode != Mode::kill && !case_.has_peer;
            if (snapshots) run_states(options_.soak ? unlimited : seconds_ * 0.25);
            if (!failure_ && options_.mode != Mode::snapshot)
                run_kills(options_.soak ? options_.kill_seconds : seconds_ * (case_.has_recovery ? 0.4 : 0.75));
            if (!failure_ && case_.has_recovery) run_pairs(options_.soak ? options_.pair_seconds : seconds_ * 0.35);
        }
        return failure_;
    }

    const Tally& tally() const noexcept { return tally_; }

private:
    static constexpr double unlimited = 1e9;  // seconds

    // --- Mode kill ---

    void run_kills(double budget) {
        // A kill half-way costs half the steps and the whole verification.
        const double price = (whole_run_seconds_ + verifier_seconds_) / 2;
        const std::uint64_t stride = stride_for(tally_.instructions + 1, price, budget);
        tally_.kill_stride = stride;
        for (std::uint64_t point = phase(stride, tally_.instructions + 1);; point += stride) {
            if (!kill_once(point)) return;
            // Where time or a peer plays a part, runs differ in length: go on to the end of the longest.
            if (point > tally_.instructions) return;
        }
    }

    // One victim, killed after `point` instructions unless it ends before.
    bool kill_once(std::uint64_t point) {
        const double began = seconds_now();
        memory_.load(start_);
        const bool zombie = case_.zombie_at(point);
        const pid_t peer = case_.has_peer ? processes_.start_peer() : 0;
        const Victim victim = processes_.run_victim(Role::operation, point, nullptr, zombie);
        std::string problem = victim.problem;
        if (peer != 0) {
            if (!problem.empty()) kill(peer, SIGKILL);
            const std::string of_peer = processes_.end_of_peer(peer);
            if (problem.empty()) problem = of_peer;
        }
        if (problem.empty()) problem = verify(first_death(victim, zombie));
        if (zombie) reap(victim.pid);
        if (!problem.empty()) return fail(problem, Mode::kill, reported_point(point, victim), {}, victim);
        if (victim.finished) {
            tally_.instructions = std::max(tally_.instructions, victim.steps);
            whole_run_seconds_ = std::max(whole_run_seconds_, seconds_now() - began);
        } else {
            ++tally_.kills;
        }
        return true;
    }

    // --- Mode snapshot ---

    void run_states(double budget) {
        Journal journal(memory_);
        const bool zombies = case_.corpse != Corpse::reaped;
        const Victim victim = record(Role::operation, start_, journal, zombies);
        if (!victim.problem.empty()) {
            if (zombies) reap(victim.pid);
            fail(victim.problem, Mode::snapshot, victim.steps, {}, victim);
            return;
        }
        const std::uint64_t stride = stride_for(journal.size(), verifier_seconds_, budget);
        const std::uint64_t first = phase(stride, journal.size());
        if (zombies) {
            verify_states(journal, victim, first, stride, true);
            reap(victim.pid);
        }
        if (!failure_) verify_states(journal, victim, first, stride, false);
    }

    // Steps a victim from `start` to its last instruction, kills it there, and fills the journal.
    Victim record(Role role, const Image& start, Journal& journal, bool keep_zombie) {
        memory_.load(start);
        journal.begin(start);
        Victim victim = processes_.run_victim(role, at_the_end, &journal, keep_zombie);
        if (victim.problem.empty() && journal.overflow())
            victim.problem = "the journal of states is full: use --mode kill, or a smaller operation";
        return victim;
    }

    void verify_states(const Journal& journal, const Victim& victim, std::size_t first, std::size_t stride,
                       bool zombie) {
        Image image = start_;
        for (std::size_t i = 0; i < journal.size(); ++i) {
            journal.advance(image, i);
            const bool sampled = i >= first && (i - first) % stride == 0;
            if (!sampled || case_.zombie_at(journal[i].step) != zombie) continue;
            if (!verify_state(journal[i], image, victim, zombie)) return;
        }
    }

    bool verify_state(const Journal::State& state, const Image& image, const Victim& victim, bool zombie) {
        memory_.load(image);
        const Crash crash{.point = state.step, .victim = victim.pid, .zombie = zombie, .restored = true};
        const std::string problem = verify(crash);
        if (!problem.empty()) return fail(problem, Mode::snapshot, state.step, {}, at(state));
        ++tally_.states;
        return true;
    }

    // --- Second victims ---

    void run_pairs(double budget) {
        Journal first(memory_), second(memory_);
        const Victim victim = record(Role::operation, start_, first, false);
        if (!victim.problem.empty()) {
            fail(victim.problem, Mode::snapshot, victim.steps, {}, victim);
            return;
        }
        const std::uint64_t stride = stride_of_pairs(first, second, budget);
        if (failure_) return;
        const std::uint64_t from = phase(stride, first.size());
        Image image = start_;
        for (std::size_t i = 0; i < first.size(); ++i) {
            first.advance(image, i);
            if (i >= from && (i - from) % stride == 0 && !pairs_after(first[i], image, victim, second, stride)) return;
        }
    }

    // Judged by the recovery from the middle state. The stride applies to first deaths and to second ones.
    std::uint64_t stride_of_pairs(const Journal& first, Journal& second, double budget) {
        if (options_.stride) return std::max<std::uint64_t>(1, *options_.stride);
        Image image = start_;
        for (std::size_t i = 0; i <= first.size() / 2 && i < first.size(); ++i) first.advance(image, i);
        const double began = seconds_now();
        const Victim victim = record(Role::recovery, image, second, false);
        const double recovery = seconds_now() - began;
        if (!victim.problem.empty()) {
            fail(victim.problem, Mode::snapshot, first[first.size() / 2].step, victim.steps, victim);
            return 1;
        }
        double pair = 0;
        if (options_.mode != Mode::kill) pair += verifier_seconds_;
        if (options_.mode != Mode::snapshot) pair += verifier_seconds_ + (whole_run_seconds_ + recovery) / 2;
        const double all = static_cast<double>(first.size()) * (recovery + static_cast<double>(second.size()) * pair);
        const double stride = std::ceil(std::sqrt(all / std::max(budget, 1e-3)));
        return static_cast<std::uint64_t>(std::clamp(stride, 1.0, static_cast<double>(first.size())));
    }

    // All (sampled) second deaths after a first one in the state `image`.
    bool pairs_after(const Journal::State& state, const Image& image, const Victim& victim, Journal& second,
                     std::uint64_t stride) {
        const Victim second_victim = record(Role::recovery, image, second, false);
        if (!second_victim.problem.empty())
            return fail(second_victim.problem, Mode::snapshot, state.step, second_victim.steps, second_victim);
        const std::uint64_t from = phase(stride, second.size());
        Image after = image;
        for (std::size_t j = 0; j < second.size(); ++j) {
            second.advance(after, j);
            if (j < from || (j - from) % stride != 0) continue;
            if (options_.mode != Mode::kill && !verify_pair(state, second[j], after, victim, second_victim))
                return false;
            if (options_.mode != Mode::snapshot && !kill_pair(state.step, second[j].step)) return false;
        }
        return options_.mode == Mode::snapshot || kill_pair(state.step, never);
    }

    bool verify_pair(const Journal::State& state, const Journal::State& second, const Image& image,
                     const Victim& victim, const Victim& second_victim) {
        memory_.load(image);
        const std::string problem = verify({.point = state.step, .victim = victim.pid, .restored = true,
                                            .second_victim = second_victim.pid, .recovery_point = second.step});
        if (!problem.empty()) return fail(problem, Mode::snapshot, state.step, second.step, at(second));
        ++tally_.second_states;
        return true;
    }

    bool kill_pair(std::uint64_t point, std::uint64_t second_point) {
        memory_.load(start_);
        const bool zombie = case_.zombie_at(point), second_zombie = case_.zombie_at(second_point);
        const Victim victim = processes_.run_victim(Role::operation, point, nullptr, zombie);
        if (!victim.problem.empty()) {
            if (zombie) reap(victim.pid);
            return fail(victim.problem, Mode::kill, point, second_point, victim);
        }
        const Victim second = processes_.run_victim(Role::recovery, second_point, nullptr, second_zombie);
        std::string problem = second.problem;
        if (problem.empty()) {
            Crash crash = first_death(victim, zombie);
            crash.second_victim = second.pid;
            crash.recovery_finished = second.finished;
            crash.recovery_point = second.steps;
            problem = verify(crash);
        }
        if (zombie) reap(victim.pid);
        if (second_zombie) reap(second.pid);
        if (!problem.empty())
            return fail(problem, Mode::kill, reported_point(point, victim), reported_point(second_point, second),
                        second);
        ++tally_.second_kills;
        return true;
    }

    // --- One point, to repeat a failure ---

    void run_one_point() {
        const std::uint64_t point = *options_.point;
        if (options_.mode != Mode::snapshot) {
            if (options_.second) kill_pair(point, *options_.second);
            else kill_once(point);
            return;
        }
        Journal journal(memory_);
        Image image = start_;
        const Victim victim = record(Role::operation, start_, journal, case_.zombie_at(point));
        std::string problem = victim.problem;
        if (!problem.empty()) {
            fail(problem, Mode::snapshot, victim.steps, {}, victim);
        } else {
            const Journal::State state = advance_to(journal, image, point);
            if (!options_.second) {
                verify_state(state, image, victim, case_.zombie_at(point));
            } else {
                Journal second(memory_);
                const Victim second_victim = record(Role::recovery, image, second, false);
                const std::uint64_t at_second = *options_.second;
                if (!second_victim.problem.empty()) {
                    fail(second_victim.problem, Mode::snapshot, state.step, second_victim.steps, second_victim);
                } else {
                    const Journal::State last = advance_to(second, image, at_second);
                    verify_pair(state, last, image, victim, second_victim);
                }
            }
        }
        if (case_.zombie_at(point)) reap(victim.pid);
    }

    // The state that the memory is in after `point` instructions.
    static Journal::State advance_to(const Journal& journal, Image& image, std::uint64_t point) {
        std::size_t i = 0;
        journal.advance(image, 0);
        while (i + 1 < journal.size() && journal[i + 1].step <= point) journal.advance(image, ++i);
        return journal[i];
    }

    // --- Bookkeeping ---

    std::string verify(const Crash& crash) {
        const double began = seconds_now();
        ++tally_.checks;
        std::string problem = processes_.run_verifier(crash);
        verifier_seconds_ = seconds_now() - began;
        return problem;
    }

    static Crash first_death(const Victim& victim, bool zombie) {
        return {.finished = victim.finished, .point = victim.steps, .victim = victim.pid, .zombie = zombie};
    }

    static Victim at(const Journal::State& state) {
        return {0, false, state.step, state.executed, state.next, ""};
    }

    // A point that repeats what happened to a victim that nobody was going to kill.
    static std::uint64_t reported_point(std::uint64_t point, const Victim& victim) noexcept {
        return point == never ? victim.steps + 1 : point;
    }

    // So that `count` points at `price` seconds each cost no more than the budget; some two points at least.
    std::uint64_t stride_for(std::uint64_t count, double price, double budget) const {
        if (options_.stride) return std::max<std::uint64_t>(1, *options_.stride);
        const double affordable = std::max(2.0, budget / std::max(price, 1e-5));
        const double stride = std::ceil(static_cast<double>(count) / affordable);
        return std::max<std::uint64_t>(1, static_cast<std::uint64_t>(stride));
    }

    std::uint64_t phase(std::uint64_t stride, std::uint64_t count) {
        return random_() % std::max<std::uint64_t>(1, std::min(stride, count));
    }

    bool fail(std::string message, Mode mode, std::uint64_t point, std::optional<std::uint64_t> second,
              const Victim& last) {
        failure_ = Failure{case_.name, std::move(message), mode, point, second, last.finished, tally_.instructions,
                           last.executed, last.next};
        return false;
    }

    const AnyCase& case_;
    const Options& options_;
    const double seconds_;
    CaseProcesses processes_;
    SharedMemory& memory_;
    std::mt19937_64 random_;
    Image start_;
    Tally tally_;
    double whole_run_seconds_ = 0, verifier_seconds_ = 0;
    std::optional<Failure> failure_;
};

}  // namespace step_kill
