// Channels under death at every instruction: made, sent through, received from, while the other end sleeps.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <unistd.h>

#include "crash/ring_fixture.hpp"
#include "treadle/channel/channel.hpp"
#include "treadle/channel/taking.hpp"
#include "treadle/platform/pipe.hpp"

namespace arena_crash {
namespace {

using treadle::platform::BellPipe;
using Channel = treadle::channel::ChannelState<SharedWorld>;

BellPipe bell_pipe;  // inherited by all processes of the case
SharedBlock* channel_block;

struct OwnBell {
    void silence() noexcept { treadle::platform::silence_bell(bell_pipe.read); }
    void take() noexcept { treadle::platform::take_ring(bell_pipe.read); }
    void ring() noexcept { treadle::platform::ring_own_bell(bell_pipe.read); }
};
struct OtherBell {
    void ring() noexcept { treadle::platform::ring_bell(bell_pipe.write); }
};
// (What a pipe holds is not restored with the memory: only who was killed has left it as it was.)
bool rung() noexcept { return treadle::platform::silence_bell(bell_pipe.read); }

Channel* channel() noexcept { return reinterpret_cast<Channel*>(channel_block); }
Channel* own_channel() noexcept { return reinterpret_cast<Channel*>(own(channel_block)); }

// The ring to end 0 is the fixture's queue, so that what it knows of queues serves here.
void found_channel() {
    found_arena();
    std::uint32_t slot = 0;
    in_section(keeper->arena, keeper->caller(), [&] {
        channel_block = &treadle::channel::make<SharedWorld>(*keeper, true, 0)->block;
        slot = keeper->handles.add(keeper->arena, keeper->process, channel_block);
    });
    object_slot = slot;
    object = keeper->arena.heap.block_at(channel()->rings[0]);
    queue_blocks = keeper->arena.header().blocks.load();
    if (bell_pipe.read < 0 && !treadle::platform::make_bell(bell_pipe)) give_up("no pipe");
    channel()->ends[1].bell.want_room();  // its writer is about to sleep
}

Case channel_case(const char* name, void (*set_up)(), void (*prepare)(), void (*operation)(),
                  std::string (*check)(const Found&, const Crash&)) {
    Case subject = arena_case(name);
    subject.setup = [=](Memory&) {
        found_channel();
        set_up();
        track_arena(6);
    };
    subject.prepare = [=](Memory&) {
        join("victim");
        rung();
        prepare();
    };
    subject.operation = [=](Memory&) { operation(); };
    subject.verify = [=](Memory&, const Crash& crash) -> std::string {
        join("survivor");
        Found found{{}, own_queue().puts(), 0, own_queue().mode()};
        if (const std::string wrong = drain(found, false); !wrong.empty()) return wrong;
        if (const std::string wrong = check(found, crash); !wrong.empty()) return wrong + " (" + list_of(found) + ")";
        // The bells go on: whoever wants is rung for.
        for (auto& end : own_channel()->ends) {
            rung();
            end.bell.settle(10, OwnBell{}, false);
            end.bell.ring_for_messages(10, OtherBell{});
            CRASH_REQUIRE(!rung());
            end.bell.ring_for_messages(11, OtherBell{});
            CRASH_REQUIRE(rung());
            end.bell.want_room();
            end.bell.ring_for_room(OtherBell{});
            CRASH_REQUIRE(rung());
        }
        if (const std::string wrong = queue_goes_on(); !wrong.empty()) return wrong;
        if (const std::string wrong = arena_is_sound(queue_blocks); !wrong.empty()) return wrong;
        return nothing_is_left();
    };
    return subject;
}

void nothing_yet() {}
void reader_sleeps() { channel()->ends[0].bell.settle(0, OwnBell{}, false); }

std::string sent_or_not(const Found& found, const Crash& crash) {
    CRASH_REQUIRE(found.is(1, 1) || (found.items.empty() && !crash.finished));
    if (!crash.restored && (found.items.empty() || crash.finished)) CRASH_REQUIRE(rung() == crash.finished);
    return "";
}
std::string received_or_not(const Found& found, const Crash& crash) {
    CRASH_REQUIRE(found.is(2, 2) || (found.is(1, 2) && !crash.finished));
    if (!crash.restored && (found.is(1, 2) || crash.finished)) CRASH_REQUIRE(rung() == crash.finished);
    return "";
}

void send() {
    put_prepared(1);
    own_channel()->ends[0].bell.ring_for_messages(own_queue().puts(), OtherBell{});
}

// ---- Ends that are taken by the paths of their bells

char bell_folder[] = "/tmp/treadle-bells-XXXXXX";
std::string bell_path(std::uint32_t side) { return std::string(bell_folder) + (side == 0 ? "/0" : "/1"); }

struct HeldEnd {
    std::uint32_t side;
    int bell = -1, other = -1;
    explicit HeldEnd(std::uint32_t which) noexcept : side(which) {}
    ~HeldEnd() { let_go(); }
    HeldEnd(const HeldEnd&) = delete;
    HeldEnd& operator=(const HeldEnd&) = delete;
    bool take(Channel* of) {
        treadle::platform::Refused refused;
        return treadle::channel::take_end(*of, side, bell_path(side).c_str(), bell_path(1 - side).c_str(), bell, other, refused);
    }
    void let_go() noexcept {
        treadle::platform::close_bell(bell);
        treadle::platform::close_bell(other);
        bell = other = -1;
    }
    bool deserted() const { return treadle::channel::is_deserted(*own_channel(), side, other); }
    // Sleeping there would be in vain, since the bell wakes at once, for ever?
    bool restless() const {
        pollfd one{bell, POLLIN, 0};
        return poll(&one, 1, 0) != 0;
    }
};
HeldEnd keepers(0), victims(0);  // the keeper's is inherited by all processes of the case

Case take_case(const char* name, std::uint32_t side, bool first) {
    Case subject = arena_case(name);
    subject.setup = [=](Memory&) {
        found_arena();
        std::uint32_t slot = 0;
        in_section(keeper->arena, keeper->caller(), [&] {
            channel_block = &treadle::channel::make<SharedWorld>(*keeper, true, 0, treadle::channel::kNobodyYet)->block;
            slot = keeper->handles.add(keeper->arena, keeper->process, channel_block);
        });
        object_slot = slot;
        keepers.let_go();
        if (!first && !keepers.take(channel())) give_up("no end to keep");
        track_arena(6);
    };
    subject.prepare = [=](Memory&) {
        join("victim");
        if (first)  // so that it makes them
            for (const std::uint32_t each : {0u, 1u}) unlink(bell_path(each).c_str());
        victims.side = side;
    };
    subject.operation = [=](Memory&) { victims.take(own_channel()); };
    subject.verify = [=](Memory&, const Crash& crash) -> std::string {
        join("survivor");
        const bool come = treadle::channel::has_come(*own_channel(), side);
        CRASH_REQUIRE(come || !crash.finished);
        HeldEnd opposite(1 - side), again(side);
        CRASH_REQUIRE(opposite.take(own_channel()));
        CRASH_REQUIRE(opposite.deserted() == come);
        CRASH_REQUIRE(come || !opposite.restless());
        CRASH_REQUIRE(again.take(own_channel()));
        CRASH_REQUIRE(!again.deserted() && !opposite.deserted() && !opposite.restless());
        CRASH_REQUIRE(treadle::platform::ring_bell(opposite.other) && treadle::platform::silence_bell(again.bell));
        CRASH_REQUIRE(treadle::platform::ring_bell(again.other) && treadle::platform::silence_bell(opposite.bell));
        again.let_go();
        CRASH_REQUIRE(opposite.deserted());
        return "";
    };
    return subject;
}

void add_cases(step_kill::Suite& suite) {
    suite.add(channel_case(
        "channel/send", reader_sleeps, [] { write_inline(victims_frames, 1, kInline); }, send, sent_or_not));
    suite.add(channel_case(
        "channel/send a large message", reader_sleeps, [] { prepare_message(1); }, send, sent_or_not));
    suite.add(channel_case(
        "channel/receive", [] { keeper_puts(1); keeper_puts(2); }, nothing_yet,
        [] {
            take(1);
            own_channel()->ends[1].bell.ring_for_room(OtherBell{});
        },
        received_or_not));

    suite.add(channel_case(
        "channel/receive at an exposed end",
        [] {
            channel()->ends[0].bell.expose(OwnBell{}, queue_of(*keeper));
            keeper_puts(1);
            channel()->ends[0].bell.ring_for_messages(1, OtherBell{});
        },
        [] { treadle::platform::ring_bell(bell_pipe.write); },
        [] {
            take(1);
            own_channel()->ends[0].bell.show(OwnBell{}, own_queue());
        },
        [](const Found& found, const Crash& crash) -> std::string {
            CRASH_REQUIRE(found.items.empty() || (found.is(1, 1) && !crash.finished));
            CRASH_REQUIRE(crash.restored || !crash.finished || !rung());
            return "";
        }));

    Case make = arena_case("channel/make");
    make.setup = [](Memory&) {
        found_arena();
        keep_object(64, Kind::none);
        track_arena(6);
    };
    make.prepare = [](Memory&) { join("victim"); };
    make.operation = [](Memory&) {
        in_own_section([] {
            auto* made = treadle::channel::make<SharedWorld>(*self, true, 1 << 20);
            self->handles.add(self->arena, self->process, &made->block);
        });
    };
    make.verify = [](Memory&, const Crash&) -> std::string {
        join("survivor");
        return nothing_is_left();
    };
    suite.add(make);

    suite.add(take_case("channel/take the first end", 0, true));
    suite.add(take_case("channel/take the other end", 1, false));
}

}  // namespace
}  // namespace arena_crash

int main(int argc, char** argv) {
    if (mkdtemp(arena_crash::bell_folder) == nullptr) return 1;
    step_kill::Suite suite;
    arena_crash::add_cases(suite);
    const int result = arena_crash::run(suite, argc, argv);
    for (const std::uint32_t side : {0u, 1u}) unlink(arena_crash::bell_path(side).c_str());
    rmdir(arena_crash::bell_folder);
    return result;
}
