// model.hpp: the World that puts native state machines under the explorer: atomics, futex, clock and liveness of the
// model. `MutexWord<schedule::Model>` is the same code as `MutexWord<Real>`.
//
// The model is sequentially consistent: memory orders are accepted and ignored, and a wrong one is not found here.
// Outside of fibers (in a test's body, before and after run()) every operation is a plain access.
#pragma once

#include <atomic>
#include <bit>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <type_traits>

#include "schedule/execution.hpp"

namespace schedule {

struct Model {
    static constexpr std::uint32_t kAllBits = ~std::uint32_t{0};
    /// A round of a bounded spin more shows nothing that the first does not.
    static constexpr int kSpins = 0;

    /// As std::atomic<T>, but every operation is a scheduling point. Exactly the bytes of T; zeroed memory is Atom{}.
    template <class T>
    class alignas(sizeof(T)) Atom {
        static_assert(std::is_trivially_copyable_v<T> && std::has_single_bit(sizeof(T)) && sizeof(T) <= 8);

    public:
        using value_type = T;
        static constexpr bool is_always_lock_free = true;

        Atom() = default;
        constexpr Atom(T value) noexcept : value_(value) {}
        Atom(const Atom&) = delete;
        Atom& operator=(const Atom&) = delete;

        bool is_lock_free() const noexcept { return true; }

        T load(std::memory_order = std::memory_order_seq_cst) const noexcept {
            Execution* execution = fiber_at(Act::load);
            if (execution != nullptr) execution->did_read(this, Act::load, bits(value_));
            return value_;
        }

        void store(T value, std::memory_order = std::memory_order_seq_cst) noexcept {
            modify(Act::store, [=](T) { return value; });
        }

        T exchange(T value, std::memory_order = std::memory_order_seq_cst) noexcept {
            return modify(Act::exchange, [=](T) { return value; });
        }

        bool compare_exchange_strong(T& expected, T desired, std::memory_order = std::memory_order_seq_cst,
                                     std::memory_order = std::memory_order_seq_cst) noexcept {
            return compare_exchange(expected, desired, false);
        }

        /// May fail for no reason where the plan has spurious events.
        bool compare_exchange_weak(T& expected, T desired, std::memory_order = std::memory_order_seq_cst,
                                   std::memory_order = std::memory_order_seq_cst) noexcept {
            return compare_exchange(expected, desired, true);
        }

        T fetch_add(T value, std::memory_order = std::memory_order_seq_cst) noexcept requires std::is_integral_v<T> {
            return modify(Act::fetch_add, [=](T old) { return static_cast<T>(widen(old) + widen(value)); });
        }
        T fetch_sub(T value, std::memory_order = std::memory_order_seq_cst) noexcept requires std::is_integral_v<T> {
            return modify(Act::fetch_sub, [=](T old) { return static_cast<T>(widen(old) - widen(value)); });
        }
        T fetch_or(T value, std::memory_order = std::memory_order_seq_cst) noexcept requires std::is_integral_v<T> {
            return modify(Act::fetch_or, [=](T old) { return static_cast<T>(old | value); });
        }
        T fetch_and(T value, std::memory_order = std::memory_order_seq_cst) noexcept requires std::is_integral_v<T> {
            return modify(Act::fetch_and, [=](T old) { return static_cast<T>(old & value); });
        }
        T fetch_xor(T value, std::memory_order = std::memory_order_seq_cst) noexcept requires std::is_integral_v<T> {
            return modify(Act::fetch_xor, [=](T old) { return static_cast<T>(old ^ value); });
        }

        /// The value, for a test's eyes: no scheduling point, no dependency.
        T peek() const noexcept { return value_; }

    private:
        using Act = detail::Act;

        static std::uint64_t bits(T value) {
            std::uint64_t result = 0;
            std::memcpy(&result, &value, sizeof value);
            return result;
        }

        /// Unsigned, so that signed atoms wrap as std::atomic's do.
        static auto widen(T value) { return static_cast<std::uint64_t>(value); }

        Execution* fiber_at(Act act) const {
            Execution* execution = Execution::current();
            if (execution == nullptr || !execution->in_fiber()) return nullptr;
            execution->point(act, this);
            return execution;
        }

        template <class Change>
        T modify(Act act, Change change) {
            Execution* execution = fiber_at(act);
            const T before = value_;
            value_ = change(before);
            if (execution != nullptr) execution->did_write(this, act, bits(before), bits(value_));
            return before;
        }

        bool compare_exchange(T& expected, T desired, bool weak) {
            Execution* execution = fiber_at(Act::compare_exchange);
            const T found = value_;
            const bool equal = bits(found) == bits(expected);
            const bool fails_for_no_reason = equal && weak && execution != nullptr && execution->weak_exchange_fails();
            if (!equal || fails_for_no_reason) {
                if (execution != nullptr) execution->did_not_exchange(this, bits(found), fails_for_no_reason);
                expected = found;
                return false;
            }
            value_ = desired;
            if (execution != nullptr) execution->did_write(this, Act::compare_exchange, bits(found), bits(desired));
            return true;
        }

        T value_;
    };

    /// Why a wait returned: woken, changed (it did not park), timeout.
    using Outcome = Execution::Outcome;

    /// Wakes at most `count` of those that wait on the word with some of these bits, the one that waits longest first
    /// (see Plan).
    static void wake(const void* word, int count, std::uint32_t bits = kAllBits) noexcept {
        Execution* execution = Execution::current();
        if (execution == nullptr || !execution->in_fiber()) return;
        execution->wake(word, count < 0 ? 0u : static_cast<unsigned>(count), bits);
    }

    /// As wake, and tells how many it woke. (In the real world `wake` reaches tasks, too, and this threads alone.)
    static int wake_threads(const void* word, int count, std::uint32_t bits = kAllBits) noexcept {
        Execution* execution = Execution::current();
        if (execution == nullptr || !execution->in_fiber()) return 0;
        return static_cast<int>(execution->wake_and_count(word, count < 0 ? 0u : static_cast<unsigned>(count), bits));
    }

    /// The model is sequentially consistent.
    static void fence() noexcept {}

    /// Parks while the 32 bits at `word` (of a 64-bit atom on a little-endian machine: the low half) equal `expected`;
    /// looking and parking are one step. Ends by a wake or, where the plan has them, by a timeout. The time given for it
    /// is not counted: when everybody has parked, any of the waits may run out first.
    static Outcome wait(const void* word, std::uint32_t expected, std::int64_t /*nanoseconds*/ = 0,
                        std::uint32_t bits = kAllBits) noexcept {
        Execution* execution = Execution::current();
        if (execution == nullptr || !execution->in_fiber()) {
            std::uint32_t value;
            std::memcpy(&value, word, sizeof value);
            if (value == expected) {
                std::fputs("schedule: a wait outside of fibers would never end\n", stderr);
                std::abort();
            }
            return Outcome::changed;
        }
        return execution->wait(word, expected, bits);
    }

    /// To be called in every round of a loop that spins: others go first, and the loop is explored only as far as it
    /// sees something new.
    static void pause() noexcept {
        Execution* execution = Execution::current();
        if (execution != nullptr && execution->in_fiber()) execution->pause();
    }

    /// Nanoseconds of the model's clock: it agrees with the order of dependent steps (a step takes a nanosecond, a
    /// pause a microsecond), and jumps by 200 ms when all have parked and one looks again.
    static std::uint64_t now() {
        Execution* execution = Execution::current();
        return execution == nullptr ? 0 : execution->now();
    }

    /// False once the fiber has been killed; a fiber that has ended counts as alive (its process goes on).
    static bool alive(std::uint32_t fiber) {
        Execution* execution = Execution::current();
        if (execution == nullptr) return true;
        return execution->in_fiber() ? execution->alive(fiber) : !execution->died(fiber);
    }

    /// The number of the fiber that runs; Execution::no_fiber outside of fibers.
    static std::uint32_t self() {
        const Execution* execution = Execution::current();
        return execution == nullptr ? Execution::no_fiber : execution->self();
    }

    /// A scheduling point for a step that is not atomic (a copy, a read of plain data). It counts as depending on all
    /// other steps, so that pruning keeps its order with each of them.
    static void yield_point(std::string_view label) {
        Execution* execution = Execution::current();
        if (execution != nullptr && execution->in_fiber()) execution->yield(label);
    }
};

static_assert(sizeof(Model::Atom<std::uint64_t>) == 8 && alignof(Model::Atom<std::uint64_t>) == 8);
static_assert(sizeof(Model::Atom<std::uint32_t>) == 4 && sizeof(Model::Atom<bool>) == 1);
static_assert(std::is_trivially_default_constructible_v<Model::Atom<std::uint64_t>>);
static_assert(std::is_standard_layout_v<Model::Atom<std::uint64_t>>);

}  // namespace schedule
