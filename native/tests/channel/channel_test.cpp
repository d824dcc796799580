// Channels in a real arena, doorbells in real pipes.
#include <atomic>
#include <cstdint>
#include <poll.h>

#include "check.hpp"
#include "ring/line.hpp"
#include "threads.hpp"
#include "treadle/channel/channel.hpp"
#include "treadle/platform/pipe.hpp"

using namespace line;
using treadle::channel::Doorbell;
using namespace treadle::platform;

namespace {

using Channel = treadle::channel::ChannelState<SharedWorld>;

Channel* make_channel(bool duplex, std::uint32_t& slot) {
    Channel* made = nullptr;
    inside([&] {
        made = treadle::channel::make<SharedWorld>(tree(), duplex, 1 << 20);
        slot = tree().handles.add(tree().arena, tree().process, &made->block);
    });
    return made;
}

bool is_readable(int fd) {
    pollfd one{fd, POLLIN, 0};
    return poll(&one, 1, 0) == 1 && (one.revents & POLLIN) != 0;
}

struct OwnBell {
    int fd;
    void silence() noexcept { silence_bell(fd); }
    void take() noexcept { take_ring(fd); }
    void ring() noexcept { ring_own_bell(fd); }
};
struct OtherBell {
    int fd;
    void ring() noexcept { ring_bell(fd); }
};

}  // namespace

TEST(a_channel_has_a_ring_for_each_direction_and_takes_them_with_it) {
    self();
    const std::uint64_t before = audited_blocks();
    for (const bool duplex : {false, true}) {
        std::uint32_t slot = 0;
        Channel* channel = make_channel(duplex, slot);
        CHECK(channel->rings[0] != 0);
        CHECK_EQ(channel->rings[1] != 0, duplex);
        CHECK_EQ(audited_blocks(), before + (duplex ? 5 : 3));  // itself, and a queue and its chunk for each ring
        inside([&] { tree().handles.drop(tree().arena, tree().process, slot); });
        CHECK_EQ(audited_blocks(), before);
    }
}

TEST(who_asks_is_rung_for_once_and_only_for_what_he_asked_for) {
    Doorbell<SharedWorld> bell{};
    BellPipe pipe;
    CHECK(make_bell(pipe));
    const auto rings = [&](auto call) {
        call();
        return silence_bell(pipe.read);
    };
    const auto message = [&](std::uint64_t count) {
        return rings([&] { bell.ring_for_messages(count, OtherBell{pipe.write}); });
    };
    const auto room = [&] { return rings([&] { bell.ring_for_room(OtherBell{pipe.write}); }); };
    CHECK(!message(1) && !room());
    bell.settle(7, OwnBell{pipe.read}, false);
    CHECK(!room());
    CHECK(!message(7));  // the seventh was taken before anybody asked
    CHECK(message(8));
    CHECK(!message(9));
    bell.want_room();
    bell.want_room();
    CHECK(!message(9) && room() && !room());
    CHECK(!bell.exposed());
    close_bell(pipe.read);
    close_bell(pipe.write);
}

TEST(a_ring_that_never_comes_is_waited_for_no_longer_than_a_while) {
    Doorbell<SharedWorld> bell{};
    BellPipe pipe;
    CHECK(make_bell(pipe));
    struct Dead {
        void ring() noexcept {}
    };
    bell.settle(0, OwnBell{pipe.read}, false);
    bell.ring_for_messages(1, Dead{});
    bell.settle(1, OwnBell{pipe.read}, false);
    bell.ring_for_messages(2, OtherBell{pipe.write});
    CHECK(is_readable(pipe.read));
    close_bell(pipe.read);
    close_bell(pipe.write);
}

TEST(a_bell_is_rung_silenced_and_rung_from_within) {
    BellPipe pipe;
    CHECK(make_bell(pipe));
    CHECK(!is_readable(pipe.read));
    for (int i = 0; i < 100; ++i) ring_bell(pipe.write);
    CHECK(is_readable(pipe.read));
    silence_bell(pipe.read);
    CHECK(!is_readable(pipe.read));
    ring_own_bell(pipe.read);
    CHECK(is_readable(pipe.read));
    silence_bell(pipe.read);
    for (int i = 0; i < 100'000; ++i) ring_bell(pipe.write);  // more than a pipe holds
    CHECK(!is_deserted(pipe.write));
    close_bell(pipe.read);
    CHECK(is_deserted(pipe.write));
    close_bell(pipe.write);
}

TEST(a_wait_ends_with_a_ring_with_the_others_end_and_in_time) {
    BellPipe own, other;
    CHECK(make_bell(own) && make_bell(other));
    CHECK(await_bell(own.read, other.write, 1'000'000, true) == BellWait::timeout);
    ring_bell(own.write);
    CHECK(await_bell(own.read, other.write, kPatience, true) == BellWait::rung);
    CHECK(await_bell(own.read, other.write, 1'000'000, false) == BellWait::timeout);
    close_bell(other.read);
    CHECK(await_bell(own.read, other.write, kPatience, false) == BellWait::deserted);
    close_bell(own.write);
    CHECK(await_bell(own.read, other.write, kPatience, true) == BellWait::deserted);
    close_bell(own.read);
    close_bell(other.write);
}

TEST(a_selector_sees_every_message_and_none_that_is_not_there) {
    Doorbell<SharedWorld> bell{};
    BellPipe pipe;
    CHECK(make_bell(pipe));
    const std::uint32_t count = check::scale<std::uint32_t>(20'000, 1'000'000);
    struct Counts {
        std::atomic<std::uint64_t> sent{0}, received{0};
        std::uint64_t puts() const { return sent.load(); }
        std::uint64_t taken() const { return received.load(); }
        std::uint64_t size() const { return puts() - taken(); }
    } counts;
    bell.expose(OwnBell{pipe.read}, counts);
    threads::run_threads(2, [&](unsigned who) {
        if (who == 0) {
            for (std::uint32_t i = 0; i < count; ++i) {
                counts.sent.fetch_add(1);
                bell.ring_for_messages(counts.puts(), OtherBell{pipe.write});
            }
            return;
        }
        for (std::uint32_t i = 0; i < count; ++i) {
            pollfd one{pipe.read, POLLIN, 0};
            while (poll(&one, 1, -1) != 1) {
            }
            CHECK(counts.size() != 0);
            counts.received.fetch_add(1);
            bell.show(OwnBell{pipe.read}, counts);
        }
    });
    CHECK(!is_readable(pipe.read));
    close_bell(pipe.read);
    close_bell(pipe.write);
}

int main(int argc, char** argv) {
    Mapping::install();
    return check::main(argc, argv);
}
