// word/caller.hpp: a fiber of the model as a caller of the word machines, and the parking loop.
#pragma once

#include <cstdint>
#include <ostream>

#include "schedule/schedule.hpp"
#include "treadle/word/attempt.hpp"

namespace treadle::word {

inline std::ostream& operator<<(std::ostream& out, Result result) {
    constexpr const char* names[] = {"done",   "blocked", "owner_died", "inconsistent", "not_held",  "overflow", "broken",
                                     "no_room", "full",   "empty",      "shut",         "no_memory", "gone"};
    return out << names[static_cast<int>(result)];
}

}  // namespace treadle::word

namespace word_test {

using schedule::Model;
using treadle::word::Result;
using treadle::word::Token;
using treadle::word::Wait;

inline Token token_of(std::uint32_t fiber) { return fiber + 1; }
inline std::uint32_t fiber_of(Token token) { return static_cast<std::uint32_t>(token - 1); }

struct Caller {
    Token token = token_of(Model::self());
    bool look = false;
    bool alive(Token other) const { return Model::alive(fiber_of(other)); }
};

/// Attempts until the operation is not blocked: parks as told in between, and looks after each park that has run out.
template <class Attempt>
Result insist(Caller& who, Attempt attempt) {
    for (Wait wait;;) {
        const Result result = attempt(wait);
        if (result != Result::blocked) return result;
        who.look = Model::wait(wait.word, wait.expected, 0, wait.bits) == Model::Outcome::timeout;
    }
}

/// Parks as told. At an internal section a park is bounded on purpose (Wait::section): it ends by itself, and the caller
/// looks. Every other park has to be ended by a wake, where the plan has no timeouts.
inline void park(Caller& who, const Wait& wait) {
    if (wait.section) {
        Model::pause();
        who.look = true;
    } else {
        who.look = Model::wait(wait.word, wait.expected, 0, wait.bits) == Model::Outcome::timeout;
    }
}

/// As insist, with such parks.
template <class Attempt>
Result insist_past_sections(Caller& who, Attempt attempt) {
    for (Wait wait;; park(who, wait)) {
        if (const Result result = attempt(wait); result != Result::blocked) return result;
    }
}

}  // namespace word_test
