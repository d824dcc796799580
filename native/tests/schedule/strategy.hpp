// strategy.hpp: who goes next: the choices an execution has, and the ways of choosing (depth-first, random, by random
// priorities, by replay).
//
// An execution asks its strategy only where there is more than one option; option 0 is the one that goes on without
// preempting, killing or disturbing anyone.
#pragma once

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "schedule/plan.hpp"

namespace schedule::detail {


constexpr unsigned max_fibers = 16;

/// One decision. As text, with the fiber as a letter: run `a12` (12 times), kill `!a`, let a's wait time out `?a`, let
/// it do so early `%a`, wake a of several `^a`, let the weak exchange fail `~`.
enum class Move : std::uint8_t { run, kill, timeout, early_timeout, wake, proceed, fail_weak };

struct Option {
    Move move;
    std::uint8_t fiber;
    friend bool operator==(const Option&, const Option&) = default;
};

struct Options {
    Option list[3 * max_fibers + 1];
    unsigned count = 0;
    std::uint64_t state = 0;           ///< the state's identity, up to equivalence, and the budgets but preemptions
    unsigned preemptions_left = 0;
    unsigned current = max_fibers;     ///< the fiber that ran last, if it can go on
    std::uint32_t reluctant = 0;       ///< the fibers that spin and have seen nothing change
    bool suppressed = false;           ///< a preemption would have been possible, but for the bound

    void add(Move move, unsigned fiber) { list[count++] = {move, static_cast<std::uint8_t>(fiber)}; }
};

inline std::uint64_t mix(std::uint64_t value) {
    value ^= value >> 32;
    value *= 0xd6e8feb86659fd93u;
    value ^= value >> 29;
    value *= 0xff51afd7ed558ccdu;
    return value ^ (value >> 32);
}

template <class... More>
std::uint64_t mix(std::uint64_t first, std::uint64_t second, More... more) {
    return mix(mix(first) * 3 + second + 0x9e3779b97f4a7c15u, more...);
}

class Random {
public:
    explicit Random(std::uint64_t seed) : state_(seed) {}
    std::uint64_t next() { return mix(state_ += 0x9e3779b97f4a7c15u); }
    unsigned below(unsigned limit) { return static_cast<unsigned>((next() >> 32) * limit >> 32); }

private:
    std::uint64_t state_;
};

class Strategy {
public:
    static constexpr unsigned unlimited = ~0u;

    virtual ~Strategy() = default;
    /// Prepares the next execution; false if there is none.
    virtual bool begin() = 0;
    /// The index of the option taken. Also called with a single option, if `suppressed` is set.
    virtual unsigned pick(const Options& options) = 0;
    /// Is pick() to be called where there is no choice as well?
    virtual bool asked_always() const { return false; }
    virtual unsigned preemptions() const { return unlimited; }
    /// What to tell a reader who wants this execution again, beside its schedule.
    virtual std::string origin() const { return {}; }
    /// Were all schedules (of the plan's deaths and spurious events) explored, without a bound on preemptions?
    virtual bool exhaustive() const { return false; }
    virtual std::uint64_t pruned() const { return 0; }
};

/// States by 64-bit identity, each with the largest number of preemptions it was explored with.
class VisitedStates {
public:
    /// False if `state` was visited with at least `preemptions_left` before.
    bool insert(std::uint64_t state, unsigned preemptions_left) {
        if (2 * (size_ + 1) > slots_.size() && slots_.size() < largest) grow();
        if (state == 0) state = 1;
        const std::size_t mask = slots_.size() - 1;
        for (std::size_t i = state & mask;; i = (i + 1) & mask) {
            Slot& slot = slots_[i];
            if (slot.state == state) {
                if (slot.preemptions_left >= preemptions_left) return false;
                slot.preemptions_left = preemptions_left;
                return true;
            }
            if (slot.state == 0) {
                // Full: explore on without remembering; slower, but nothing is left out.
                if (4 * (size_ + 1) > 3 * slots_.size()) return true;
                slot = {state, preemptions_left};
                ++size_;
                return true;
            }
        }
    }

    void clear() {
        std::fill(slots_.begin(), slots_.end(), Slot{});
        size_ = 0;
    }

private:
    struct Slot {
        std::uint64_t state = 0;
        unsigned preemptions_left = 0;
    };
    static constexpr std::size_t largest = std::size_t{1} << 24;

    void grow() {
        std::vector<Slot> old(slots_.size() * 2);
        old.swap(slots_);
        size_ = 0;
        for (const Slot& slot : old) {
            if (slot.state != 0) insert(slot.state, slot.preemptions_left);
        }
    }

    std::vector<Slot> slots_ = std::vector<Slot>(std::size_t{1} << 10);
    std::size_t size_ = 0;
};

/// Depth-first search over the choices, one full pass for each bound on preemptions (0, 1, 2, 3, 4, 8, …), so that the
/// first failure found has the fewest. An execution that reaches a known state runs to its end undisturbed.
class Dfs final : public Strategy {
public:
    explicit Dfs(const Plan& plan) : limit_(plan.preemptions), prune_(plan.prune) {}

    bool begin() override {
        if (depth_ < choices_.size()) refuse();
        depth_ = 0;
        running_out_ = false;
        if (!started_) return started_ = true;
        while (!choices_.empty() && ++choices_.back().taken == choices_.back().count) choices_.pop_back();
        if (!choices_.empty()) return true;
        if (!suppressed_ || bound_ == limit_) return false;
        bound_ = std::min(limit_, bound_ < 4 ? bound_ + 1 : 2 * bound_);
        suppressed_ = false;
        visited_.clear();
        return true;
    }

    unsigned pick(const Options& options) override {
        if (options.count == 1) {
            suppressed_ = suppressed_ || (options.suppressed && !running_out_);
            return 0;
        }
        if (depth_ < choices_.size()) {
            const Choice& choice = choices_[depth_++];
            if (choice.count != options.count || choice.state != options.state) refuse();
            return choice.taken;
        }
        if (running_out_) return 0;
        if (prune_ && !visited_.insert(options.state, options.preemptions_left)) {
            running_out_ = true;
            ++pruned_;
            return 0;
        }
        suppressed_ = suppressed_ || options.suppressed;
        ++depth_;
        choices_.push_back({0, options.count, options.state});
        return 0;
    }

    unsigned preemptions() const override { return bound_; }
    bool exhaustive() const override { return !suppressed_; }
    std::uint64_t pruned() const override { return pruned_; }

private:
    [[noreturn]] static void refuse() {
        throw std::runtime_error(
            "the test is not deterministic: the same choices led to another state; look for clocks, addresses, random "
            "numbers and state kept between executions");
    }

    struct Choice {
        unsigned taken;
        unsigned count;
        std::uint64_t state;
    };

    std::vector<Choice> choices_;
    std::size_t depth_ = 0;
    VisitedStates visited_;
    std::uint64_t pruned_ = 0;
    unsigned bound_ = 0;
    const unsigned limit_;
    const bool prune_;
    bool started_ = false;
    bool running_out_ = false;
    bool suppressed_ = false;
};

/// What random and pct have in common: when to kill, and what to do with the rarer events.
class RandomStrategy : public Strategy {
public:
    explicit RandomStrategy(const Plan& plan) : random_(plan.seed), plan_(plan) {}

    bool begin() final {
        if (index_ == plan_.executions) return false;
        seed_ = plan_.seed + index_++;
        longest_ = std::max(longest_, picks_);
        picks_ = 0;
        random_ = Random(mix(seed_));
        // Half of the executions of a plan with deaths are without one.
        until_kill_ = random_.below(2) == 0 ? unlimited : random_.below(2 * longest_);
        until_disturbance_ = random_.below(2 * longest_);
        begin_execution();
        return true;
    }

    unsigned pick(const Options& options) final {
        if (options.count == 1) return 0;
        ++picks_;
        if (until_kill_ != unlimited && until_kill_ > 0) --until_kill_;
        if (until_disturbance_ > 0) --until_disturbance_;
        if (until_kill_ == 0) {
            if (const unsigned index = any_of(options, {Move::kill}); index < options.count) {
                until_kill_ = random_.below(longest_);
                return index;
            }
        }
        if (until_disturbance_ == 0) {
            if (const unsigned index = any_of(options, {Move::early_timeout, Move::fail_weak}); index < options.count) {
                until_disturbance_ = random_.below(longest_);
                return index;
            }
        }
        if (options.list[0].move == Move::run) return pick_fiber(options);
        return std::min(any_of(options, {options.list[0].move}), options.count - 1);
    }

    std::string origin() const final { return "seed " + std::to_string(seed_); }

protected:
    virtual void begin_execution() = 0;
    virtual unsigned pick_fiber(const Options& options) = 0;

    /// A random one of the options of these kinds, or `count` if there is none.
    unsigned any_of(const Options& options, std::initializer_list<Move> moves, std::uint32_t except = 0) {
        unsigned seen = 0;
        unsigned taken = options.count;
        for (unsigned i = 0; i < options.count; ++i) {
            if (std::find(moves.begin(), moves.end(), options.list[i].move) == moves.end()) continue;
            if (except >> options.list[i].fiber & 1) continue;
            if (random_.below(++seen) == 0) taken = i;
        }
        return taken;
    }

    Random random_;
    unsigned longest_ = 16;  ///< picks of the longest execution so far

private:
    const Plan plan_;
    std::uint64_t index_ = 0;
    std::uint64_t seed_ = 0;
    unsigned picks_ = 0;
    unsigned until_kill_ = unlimited;
    unsigned until_disturbance_ = 0;
};

class RandomWalk final : public RandomStrategy {
public:
    using RandomStrategy::RandomStrategy;

private:
    void begin_execution() override { switch_of_16_ = 16u >> random_.below(5); }

    unsigned pick_fiber(const Options& options) override {
        if (options.current != max_fibers && !(options.reluctant >> options.current & 1) &&
            random_.below(16) >= switch_of_16_) {
            return 0;
        }
        // Now and then a spinning fiber goes round once more, as far as its patience, if it has a limit.
        const std::uint32_t left_out = random_.below(8) == 0 ? 0 : options.reluctant;
        const unsigned index = any_of(options, {Move::run}, left_out);
        return index < options.count ? index : 0;
    }

    unsigned switch_of_16_ = 16;
};

class Pct final : public RandomStrategy {
public:
    explicit Pct(const Plan& plan) : RandomStrategy(plan), depth_(std::max(plan.depth, 1u)) {}

private:
    void begin_execution() override {
        for (unsigned i = 0; i < max_fibers; ++i) {
            priority_[i] = static_cast<int>(max_fibers + i);
            std::swap(priority_[i], priority_[random_.below(i + 1)]);
        }
        lowest_ = 0;
        step_ = 0;
        changes_.clear();
        for (unsigned i = 1; i < depth_; ++i) changes_.push_back(random_.below(longest_));
    }

    unsigned pick_fiber(const Options& options) override {
        for (unsigned fiber = 0; fiber < max_fibers; ++fiber) {
            if (options.reluctant >> fiber & 1) priority_[fiber] = --lowest_;
        }
        unsigned best = highest(options);
        if (std::find(changes_.begin(), changes_.end(), step_++) != changes_.end()) {
            priority_[options.list[best].fiber] = --lowest_;
            best = highest(options);
        }
        return best;
    }

    unsigned highest(const Options& options) const {
        unsigned best = 0;
        for (unsigned i = 1; i < options.count; ++i) {
            if (options.list[i].move != Move::run) continue;
            if (priority_[options.list[i].fiber] > priority_[options.list[best].fiber]) best = i;
        }
        return best;
    }

    const unsigned depth_;
    int priority_[max_fibers] = {};
    int lowest_ = 0;
    unsigned step_ = 0;
    std::vector<unsigned> changes_;
};

constexpr std::string_view letters = "abcdefghijklmnop";

/// The decisions of an execution, as the text that replay() takes.
inline std::string to_text(const std::vector<Option>& decisions) {
    std::string text;
    for (std::size_t i = 0; i < decisions.size();) {
        const Option decision = decisions[i];
        std::size_t run = 1;
        if (decision.move == Move::run) {
            while (i + run < decisions.size() && decisions[i + run] == decision) ++run;
        }
        i += run;
        if (decision.move == Move::proceed) continue;
        if (!text.empty()) text += '.';
        constexpr std::string_view marks = " !?%^ ~";
        if (const char mark = marks[static_cast<std::size_t>(decision.move)]; mark != ' ') text += mark;
        if (decision.move != Move::fail_weak) text += letters[decision.fiber];
        if (run > 1) text += std::to_string(run);
    }
    return text;
}

/// Follows a text; where it ends, or says nothing (of a weak exchange that succeeds), nobody is disturbed.
class Replay final : public Strategy {
public:
    explicit Replay(const Plan& plan) { parse(plan.schedule); }

    bool begin() override { return !std::exchange(begun_, true); }
    bool asked_always() const override { return true; }

    unsigned pick(const Options& options) override {
        if (next_ == decisions_.size()) return 0;
        const Option wanted = decisions_[next_];
        for (unsigned i = 0; i < options.count; ++i) {
            if (!(options.list[i] == wanted)) continue;
            ++next_;
            return i;
        }
        if (options.list[0].move == Move::proceed) return 0;
        throw std::runtime_error("the schedule does not fit this test: its decision " + std::to_string(next_ + 1) +
                                 " is not possible; is it of this version, and was the plan the same?");
    }

private:
    void parse(std::string_view text) {
        constexpr std::string_view marks = "!?%^";
        constexpr Move moves[] = {Move::kill, Move::timeout, Move::early_timeout, Move::wake};
        std::size_t at = 0;
        while (at < text.size()) {
            if (text[at] == '.') {
                ++at;
                continue;
            }
            if (text[at] == '~') {
                decisions_.push_back({Move::fail_weak, 0});
                ++at;
                continue;
            }
            Option decision{Move::run, 0};
            if (const auto mark = marks.find(text[at]); mark != std::string_view::npos) {
                decision.move = moves[mark];
                ++at;
            }
            const auto letter = at < text.size() ? letters.find(text[at]) : std::string_view::npos;
            if (letter == std::string_view::npos) {
                throw std::runtime_error("not a schedule: " + std::string(text) + " (character " + std::to_string(at) + ")");
            }
            decision.fiber = static_cast<std::uint8_t>(letter);
            std::size_t run = 0;
            for (++at; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at) {
                run = run * 10 + static_cast<std::size_t>(text[at] - '0');
            }
            decisions_.insert(decisions_.end(), std::max<std::size_t>(run, 1), decision);
        }
    }

    std::vector<Option> decisions_;
    std::size_t next_ = 0;
    bool begun_ = false;
};

inline std::unique_ptr<Strategy> make_strategy(const Plan& plan) {
    switch (plan.search) {
        case Plan::Search::random: return std::make_unique<RandomWalk>(plan);
        case Plan::Search::pct: return std::make_unique<Pct>(plan);
        case Plan::Search::replay: return std::make_unique<Replay>(plan);
        case Plan::Search::dfs: break;
    }
    return std::make_unique<Dfs>(plan);
}

}  // namespace schedule::detail
