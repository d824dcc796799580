// explorer.hpp: runs a test's body once for each schedule of a plan, and reports.
#pragma once

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "check.hpp"
#include "schedule/execution.hpp"
#include "schedule/strategy.hpp"

/// SCHEDULE_CHECK(condition, parts of a message...): ends the execution as failed if the condition is false. For fibers
/// and for the body after run(). Neither a step nor a CHECK of its own.
#define SCHEDULE_CHECK(condition, ...)                                                           \
    ((condition) ? static_cast<void>(0)                                                          \
                 : ::schedule::check_failed(__FILE__, __LINE__, #condition, ::check::text(__VA_ARGS__)))

namespace schedule {

/// ThreadSanitizer cannot follow fibers, and the model has one real thread: there is nothing for it to see.
#if defined(__SANITIZE_THREAD__)
inline constexpr bool available = false;
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
inline constexpr bool available = false;
#else
inline constexpr bool available = true;
#endif
#else
inline constexpr bool available = true;
#endif

using Body = std::function<void(Execution&)>;

struct Result {
    bool failed = false;
    std::string message;         ///< of the first failure
    std::string schedule;        ///< of the failing execution, for replay()
    std::string report;          ///< message, schedule and steps, to be printed
    bool complete = false;       ///< was all that the plan asks for explored?
    bool exhaustive = false;     ///< was the bound on preemptions never reached?
    std::uint64_t executions = 0;
    std::uint64_t pruned = 0;    ///< executions that ran into a known state
    std::uint64_t steps = 0;
    std::uint64_t deaths = 0;
    std::uint64_t timeouts = 0;
    double seconds = 0;
};

/// Explores and returns what was found; prints nothing. See check() for what tests use.
Result explore(const Plan& plan, const Body& body);

/// Explores, counts the result as a CHECK and prints one line, or the report of the failure. In a soak, a pruned plan that
/// passes is explored again without pruning. With `--replay=NAME@SCHEDULE` on the command line, runs that one execution
/// of the check of that name, prints its steps, and skips all others.
bool check(std::string_view name, const Plan& plan, const Body& body);

/// main() of a program of schedule tests: check::main, or, under ThreadSanitizer, a sentence.
inline int main(int argc, char** argv) {
    if constexpr (available) return ::check::main(argc, argv);
    static_cast<void>(argc), static_cast<void>(argv);
    std::printf("schedule tests do nothing under ThreadSanitizer: the model has one real thread\n0 checks\n");
    return 0;
}

// ------------------------------------------------------------------------------------------------------- the workings

[[noreturn]] inline void check_failed(const char* file, int line, const char* condition, std::string message) {
    message = check::text(file, ":", line, ": ", condition, message.empty() ? "" : ": ", message);
    if (Execution* execution = Execution::current()) execution->fail(std::move(message));
    std::fprintf(stderr, "%s\n", message.c_str());
    std::abort();
}

class Explorer {
public:
    Explorer(const Plan& plan, const Body& body) : plan_(plan), body_(body) {}

    Result explore() {
        const auto start = std::chrono::steady_clock::now();
        std::unique_ptr<detail::Strategy> strategy;
        try {
            strategy = detail::make_strategy(plan_);
        } catch (const std::exception& error) {
            refuse(error.what());
            return result_;
        }
        try {
            while (!result_.failed) {
                if (!strategy->begin()) {
                    result_.complete = true;
                    break;
                }
                if (result_.executions == plan_.executions) break;
                run(plan_, *strategy, false);
            }
        } catch (const std::exception& error) {
            refuse(error.what());
            return result_;
        }
        result_.exhaustive = result_.complete && strategy->exhaustive();
        result_.pruned = strategy->pruned();
        result_.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
        if (result_.failed) explain(strategy->origin());
        return result_;
    }

    /// One execution with its steps recorded.
    Result replay() {
        const std::unique_ptr<detail::Strategy> strategy = detail::make_strategy(plan_);
        strategy->begin();
        run(plan_, *strategy, true);
        result_.complete = true;
        return result_;
    }

private:
    void refuse(const char* why) {
        result_.failed = true;
        result_.message = result_.report = why;
    }

    void run(const Plan& plan, detail::Strategy& strategy, bool tracing) {
        Execution execution(plan, strategy, stacks_, tracing);
        Execution*& current = Execution::current();
        Execution* const outer = current;
        current = &execution;
        try {
            body_(execution);
        } catch (const ExecutionFailed&) {
        } catch (const std::exception& error) {
            execution.failed_ = true;
            execution.message_ = std::string("an exception left the test's body: ") + error.what();
        }
        current = outer;
        ++result_.executions;
        result_.steps += execution.steps_;
        result_.deaths += execution.deaths_;
        result_.timeouts += execution.timeouts_;
        if (execution.failed_) {
            result_.failed = true;
            result_.message = execution.message_;
        }
        if (execution.failed_ || tracing) result_.schedule = detail::to_text(execution.decisions_);
        if (tracing) result_.report = list_steps(execution);
    }

    /// Runs the failed execution once more, now writing down its steps.
    void explain(const std::string& origin) {
        const std::string message = result_.message;
        const Result counted = result_;
        const Plan plan = schedule::replay(result_.schedule, plan_);
        detail::Replay strategy(plan);
        strategy.begin();
        run(plan, strategy, true);
        const std::string steps = result_.report;
        const std::string second = result_.failed ? result_.message : "no failure";
        result_ = counted;
        result_.report = "failed: " + message + "\n  in execution " + std::to_string(result_.executions) +
                         (origin.empty() ? "" : ", " + origin) + "\n  schedule: " + result_.schedule + "\n" + steps;
        if (second.substr(0, second.find(": ")) != message.substr(0, message.find(": "))) {
            result_.report += "  (run again, the same schedule gave: " + second + "; the test is not deterministic)\n";
        }
    }

    static std::string list_steps(Execution& execution) {
        constexpr std::size_t longest = 400;
        std::size_t width = 0;
        for (const auto& fiber : execution.fibers_) width = std::max(width, fiber.name.size());
        std::string text;
        std::size_t index = 0;
        if (execution.trace_.size() > longest) {
            index = execution.trace_.size() - longest;
            text += "  (" + std::to_string(index) + " steps before these)\n";
        }
        std::uint32_t before = Execution::no_fiber;
        for (; index < execution.trace_.size(); ++index) {
            const detail::Step& step = execution.trace_[index];
            std::string who;  // nobody: the test's body
            if (step.fiber < execution.fibers_.size()) {
                who = std::string(1, detail::letters[step.fiber]) + " " + execution.fibers_[step.fiber].name;
            }
            who.resize(width + 2, ' ');
            char prefix[24];
            std::snprintf(prefix, sizeof prefix, "%5zu %c ", index + 1, step.fiber == before ? ' ' : '>');
            text += prefix + who + "  " + detail::to_text(step, execution.labels_) + "\n";
            before = step.fiber;
        }
        return text;
    }

    const Plan& plan_;
    const Body& body_;
    detail::StackPool stacks_;
    Result result_;
};

inline Result explore(const Plan& plan, const Body& body) { return Explorer(plan, body).explore(); }

inline bool check(std::string_view name, const Plan& plan, const Body& body) {
    const std::string named(name);
    if (const std::string wanted = ::check::flag("replay"); !wanted.empty()) {
        const auto at = wanted.rfind('@');
        if (wanted.substr(0, at) != name) return true;
        const Plan one = replay(at == std::string::npos ? "" : wanted.substr(at + 1), plan);
        const Result result = Explorer(one, body).replay();
        std::printf("%s: one execution, %s\n%s", named.c_str(), result.schedule.c_str(), result.report.c_str());
        return CHECK(!result.failed, result.message);
    }
    const Result result = explore(plan, body);
    if (!result.failed) {
        std::printf("%-52s %9llu executions %11llu steps %7.2f s%s%s\n", named.c_str(),
                    static_cast<unsigned long long>(result.executions), static_cast<unsigned long long>(result.steps),
                    result.seconds, result.complete ? "" : "  INCOMPLETE", result.exhaustive ? "  bound not reached" : "");
        std::fflush(stdout);
        const bool passed = CHECK(result.complete, named, ": stopped after ", result.executions, " executions");
        const bool again = passed && ::check::soak() && plan.search == Plan::Search::dfs && plan.prune;
        return again ? check(named + ", unpruned", plan.unpruned(), body) : passed;
    }
    return CHECK(!result.failed, named, ": ", result.report, "  to repeat: ",
                 ::program_invocation_short_name, " --only ", ::check::detail::state().running,
                 " '--replay=", named, "@", result.schedule, "'");
}

}  // namespace schedule
