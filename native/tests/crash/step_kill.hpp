// crash/step_kill.hpp: kills a process at every machine instruction of an operation, and lets a survivor check.
//
//     int main(int argc, char** argv) {
//         step_kill::Suite suite;
//         suite.add(step_kill::Case<Shared>{
//             .name = "mutex/acquire free",
//             .setup = [](Shared& s) { … },
//             .prepare = [](Shared& s) { … },
//             .operation = [](Shared& s) { … },
//             .verify = [](Shared& s, const step_kill::Crash& crash) -> std::string {
//                 CRASH_REQUIRE(s.word == 0 || !crash.finished, "word %u", s.word);
//                 return "";
//             },
//         });
//         return suite.run(argc, argv);
//     }
//
// crash_case.hpp says what a case is, case_run.hpp what its crash points are and what surviving them proves,
// single_step.hpp what counts as an instruction and what an operation may not do.
//
// The process must be single-threaded and not under ThreadSanitizer (which delays signals). `run` starts the program
// again with LD_BIND_NOW (no symbol resolution among the stepped instructions) and without address randomisation (the
// same instructions each time), so that a failure's `--case … --point …` repeats exactly that point.
#pragma once

#include <charconv>
#include <cstdio>
#include <dirent.h>
#include <memory>
#include <string>
#include <string_view>
#include <sys/personality.h>
#include <vector>

#include "case_run.hpp"

namespace step_kill {

// Replaces the process by itself, once, with bound symbols and fixed addresses.
inline void fix_bindings_and_addresses(char** argv) {
    if (getenv("STEP_KILL_STARTED") != nullptr) return;
    setenv("STEP_KILL_STARTED", "1", 1);
    setenv("LD_BIND_NOW", "1", 1);
    // Each byte that `rep stosb` sets is a step, and clearing a page thousands: the loops of glibc take larger ones.
    setenv("GLIBC_TUNABLES", "glibc.cpu.x86_rep_stosb_threshold=1000000000:glibc.cpu.x86_rep_movsb_threshold=1000000000", 0);
    personality(ADDR_NO_RANDOMIZE);  // refused in some containers: then only the order of failures may vary
    execv("/proc/self/exe", argv);
    die("execv /proc/self/exe");
}

struct Result {
    Tally tally;
    std::vector<Failure> failures;
};

class Suite {
public:
    template <class State>
    void add(Case<State> subject) {
        cases_.push_back(std::make_unique<TypedCase<State>>(std::move(subject)));
    }

    // The program's main: parses arguments, runs, reports. Exit code 0, or 1 for a failure, or 2 for wrong usage.
    int run(int argc, char** argv) {
        fix_bindings_and_addresses(argv);
        Options options;
        options.seed = std::random_device{}();
#if defined(__SANITIZE_ADDRESS__)
        // A process costs ten times as much here, and what is looked for is the same: states only, and few of them.
        options.mode = Mode::snapshot;
        options.seconds = 2;
        std::printf("AddressSanitizer: states only\n");
#endif
        Command command;
        if (const std::string wrong = parse(argc, argv, options, command); !wrong.empty()) {
            std::fprintf(stderr, "%s: %s\n%s", argv[0], wrong.c_str(), usage);
            return 2;
        }
        if (command.help || command.list) {
            if (command.help) std::fputs(usage, stdout);
            else for (const auto& subject : cases_) std::printf("%s\n", subject->name.c_str());
            return 0;
        }
#if defined(__SANITIZE_THREAD__)
        std::printf("not run: ThreadSanitizer delays signals, and there is one thread\n0 checks\n");
        return 0;
#endif
        if (const char* problem = stepper_problem(options.stepper)) {
            std::fprintf(stderr, "%s: %s\n", argv[0], problem);
            return 2;
        }
        program_ = argv[0];
        if (!options.soak && !options.point) std::printf("seed %llu\n", static_cast<unsigned long long>(options.seed));
        const Result result = run_cases(options, command.only, stdout);
        std::printf("%llu checks\n", static_cast<unsigned long long>(result.tally.checks));
        return result.failures.empty() ? 0 : 1;
    }

    // Runs the cases named `only` or, if none is, those that contain it. Prints to `out`, if that is not null.
    Result run_cases(const Options& options, std::string_view only, std::FILE* out) {
        require_single_thread();
        start_ticking();
        const std::vector<const AnyCase*> chosen = choose(only);
        const double began = seconds_now();
        Result result;
        for (std::size_t i = 0; i < chosen.size(); ++i) {
            // What cheap cases leave over goes to those after them; dear ones take at most half of the others' share.
            const double left = options.seconds - (seconds_now() - began);
            const double share = std::max(left / static_cast<double>(chosen.size() - i),
                                          options.seconds / static_cast<double>(2 * chosen.size()));
            CaseRun run(*chosen[i], options, share);
            const std::optional<Failure> failure = run.run();
            result.tally.add(run.tally());
            if (out != nullptr) print(out, chosen[i]->name, run.tally(), failure, options);
            if (failure) result.failures.push_back(*failure);
        }
        if (out != nullptr) {
            std::fprintf(out, "%zu cases, %zu failed, in %.1f s\n", chosen.size(), result.failures.size(),
                         seconds_now() - began);
            print_counts(out, "total", result.tally, options.soak);
        }
        return result;
    }

private:
    struct Command {
        bool list = false, help = false;
        std::string only;
    };

    static constexpr const char* usage =
        "options: --soak            every point (default: a sample)\n"
        "         --seconds N       how long the sample may take, in all (5)\n"
        "         --kill-seconds N  under --soak, how long a case's kills may take (90)\n"
        "         --pair-seconds N  under --soak, how long a case's second victims may take (60)\n"
        "         --case NAME       that case, or those whose names contain NAME\n"
        "         --point K         only after K instructions; --second J: the second victim after J\n"
        "         --mode MODE       kill, snapshot or both (both)\n"
        "         --stride N        every N-th point, of each kind\n"
        "         --seed N          of the sample\n"
        "         --stepper NAME    trapflag (x86-64) or ptrace\n"
        "         --list, --help\n";

    static std::string parse(int argc, char** argv, Options& options, Command& command) {
        for (int i = 1; i < argc; ++i) {
            const std::string_view name = argv[i];
            if (name == "--soak") { options.soak = true; continue; }
            if (name == "--list") { command.list = true; continue; }
            if (name == "--help") { command.help = true; continue; }
            if (i + 1 == argc) return "unknown option, or value missing: " + std::string(name);
            const std::string_view value = argv[++i];
            std::uint64_t number = 0;
            const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
            const bool is_number = error == std::errc{} && end == value.data() + value.size();
            if (name == "--case") command.only = value;
            else if (name == "--mode" && value == "kill") options.mode = Mode::kill;
            else if (name == "--mode" && value == "snapshot") options.mode = Mode::snapshot;
            else if (name == "--mode" && value == "both") options.mode = Mode::both;
            else if (name == "--stepper" && value == "trapflag") options.stepper = Stepper::trap_flag;
            else if (name == "--stepper" && value == "ptrace") options.stepper = Stepper::ptrace;
            else if (!is_number) return "unknown option or value: " + std::string(name) + " " + std::string(value);
            else if (name == "--seconds") options.seconds = static_cast<double>(number);
            else if (name == "--kill-seconds") options.kill_seconds = static_cast<double>(number);
            else if (name == "--pair-seconds") options.pair_seconds = static_cast<double>(number);
            else if (name == "--point") options.point = number;
            else if (name == "--second") options.second = number;
            else if (name == "--stride") options.stride = number;
            else if (name == "--seed") options.seed = number;
            else return "unknown option: " + std::string(name);
        }
        if (options.point && command.only.empty()) return "--point needs --case";
        if (options.second && !options.point) return "--second needs --point";
        return "";
    }

    std::vector<const AnyCase*> choose(std::string_view only) const {
        std::vector<const AnyCase*> exact, containing;
        for (const auto& subject : cases_) {
            if (subject->has_peer && subject->has_recovery) {
                std::fprintf(stderr, "case '%s' has a peer and a recovery; it can have one\n", subject->name.c_str());
                std::exit(2);
            }
            if (subject->name == only) exact.push_back(subject.get());
            if (subject->name.find(only) != std::string::npos) containing.push_back(subject.get());
        }
        if (containing.empty()) {
            std::fprintf(stderr, "no case is called '%.*s'; see --list\n", static_cast<int>(only.size()), only.data());
            std::exit(2);
        }
        return exact.empty() ? containing : exact;
    }

    void print(std::FILE* out, const std::string& name, const Tally& tally, const std::optional<Failure>& failure,
               const Options& options) const {
        print_counts(out, name.c_str(), tally, options.soak);
        if (failure) std::fputs(describe(*failure, options).c_str(), out);
        std::fflush(out);
    }

    static void print_counts(std::FILE* out, const char* name, const Tally& tally, bool soak) {
        const auto number = [](std::uint64_t n) { return static_cast<unsigned long long>(n); };
        std::fprintf(out, "%s: %llu crash points (%llu kills, %llu states", name, number(tally.crash_points()),
                     number(tally.kills), number(tally.states));
        if (tally.second_kills + tally.second_states != 0)
            std::fprintf(out, "; second victims: %llu kills, %llu states", number(tally.second_kills),
                         number(tally.second_states));
        std::fprintf(out, "), %llu instructions", number(tally.instructions));
        if (soak && tally.kill_stride > 1) std::fprintf(out, ", killed at every %llu-th at least", number(tally.kill_stride));
        std::fputs("\n", out);
    }

    std::string describe(const Failure& f, const Options& options) const {
        const auto number = [](std::uint64_t n) { return n == never ? "the end" : std::to_string(n); };
        std::string text = "FAIL " + f.case_name + ": ";
        text += f.mode == Mode::snapshot ? "in the state after " : f.finished ? "not killed by " : "killed after ";
        text += number(f.point) + " instructions";
        if (f.instructions != 0) text += " (the operation has " + std::to_string(f.instructions) + ")";
        if (f.second) text += ", and the second victim after " + number(*f.second);
        text += "\n    " + f.message + "\n";
        if (f.executed != 0) text += "    last executed: " + symbolise(f.executed) + "\n";
        if (f.next != 0) text += "    next:          " + symbolise(f.next) + "\n";
        text += "    repeat: " + program_ + " --case '" + f.case_name + "' --mode " +
                (f.mode == Mode::snapshot ? "snapshot" : "kill") + " --point " + std::to_string(f.point);
        if (f.second) text += " --second " + std::to_string(*f.second);
        if (options.stepper != default_stepper) text += " --stepper ptrace";
        return text + "\n";
    }

    // A fork takes only its own thread along; locks held by others would stay locked in the victim.
    static void require_single_thread() {
        DIR* tasks = opendir("/proc/self/task");
        int threads = 0;
        while (tasks != nullptr) {
            const dirent* entry = readdir(tasks);
            if (entry == nullptr) break;
            if (entry->d_name[0] != '.') ++threads;
        }
        if (tasks != nullptr) closedir(tasks);
        if (threads > 1) {
            std::fprintf(stderr, "step_kill forks, and needs a process of one thread; this has %d\n", threads);
            std::exit(2);
        }
    }

    std::vector<std::unique_ptr<AnyCase>> cases_;
    std::string program_ = "PROGRAM";
};

}  // namespace step_kill
