// crash/word_fixture.hpp: a case about one word machine: an object in the arena, victims that have joined before.
#pragma once

#include <cstdint>
#include <string>

#include "crash/arena_fixture.hpp"

namespace arena_crash {

using treadle::platform::FutexWait;

// One object of type Body, tested by `victim` processes that have joined before.
template <class Body>
Case word_case(const char* name, Kind kind, void (*set_up)(Body&), void (*prepare)(Body&), void (*operation)(Body&),
               std::string (*verify)(Body&, const Crash&)) {
    Case subject = arena_case(name);
    subject.setup = [=](Memory&) {
        found_arena();
        keep_object(sizeof(Body), kind);
        set_up(body_of<Body>(object));
        track_arena(4);
    };
    subject.prepare = [=](Memory&) {
        join("victim");
        prepare(body_of<Body>(own(object)));
    };
    subject.operation = [=](Memory&) { operation(body_of<Body>(own(object))); };
    subject.verify = [=](Memory&, const Crash& crash) -> std::string {
        // Every other time the dead has been swept before anybody looks: then nothing but the token tells of it.
        const bool swept = crash.point / 2 % 2 == 0;
        if (swept) join("survivor");
        if (const std::string wrong = verify(body_of<Body>(object), crash); !wrong.empty()) return wrong;
        if (!swept) join("survivor");
        return nothing_is_left();
    };
    return subject;
}

template <class Body>
void nothing(Body&) {}

// Waits as the parking loop does, for a short time.
template <class Attempt>
Result patiently(Attempt&& attempt, int parks) {
    Mapping::Caller who = victim();
    Wait wait;
    for (;; --parks) {
        const Result result = attempt(who, wait);
        if (result != Result::blocked || parks == 0) return result;
        who.look = SharedWorld::wait(wait.word, wait.expected, 300'000, wait.bits) == FutexWait::timeout;
    }
}

}  // namespace arena_crash
