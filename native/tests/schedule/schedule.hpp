// schedule.hpp: explores the schedules of concurrent code on model atomics. The one header for tests to include.
//
//     TEST(a_mutex_excludes) {
//         schedule::check("mutex, two fibers", schedule::dfs(2), [](schedule::Execution& run) {
//             MutexWord<schedule::Model> word{};                 // fresh state for each execution
//             bool inside = false;
//             run.label(word, "word");
//             for (const char* name : {"left", "right"}) {
//                 run.fiber(name, [&] {
//                     lock(word);
//                     SCHEDULE_CHECK(!inside, "two are inside");
//                     inside = true;
//                     schedule::Model::yield_point("inside");
//                     inside = false;
//                     unlock(word);
//                 });
//             }
//             run.run();                                         // one execution, to its end
//             SCHEDULE_CHECK(is_free(word));
//         });
//     }
//     int main(int argc, char** argv) { return schedule::main(argc, argv); }
//
// The body is run once per execution and must be deterministic: all that differs between two executions is who goes on
// at each scheduling point. A failure prints what each fiber did, step by step, and the command that repeats it:
// `… --only TEST '--replay=NAME@SCHEDULE'`. A schedule reads as who ran for how many steps: `a12.b3.!a.b7` is 12 steps
// of fiber a, 3 of b, a is killed, 7 of b; `?a` a's wait times out, `%a` it does so early, `^a` a is the one
// woken, `~` a weak compare-exchange fails for no reason.
//
// Parts: plan.hpp (dfs, random, pct, replay), model.hpp (the World policy), execution.hpp (what an execution is, who may
// be preempted and killed when), explorer.hpp (check, explore, the report), linearizability.hpp (histories; included by
// those who need it).
//
// What a pass does NOT prove
//   - Weak memory: the model is sequentially consistent and ignores memory orders. A missing acquire or release is not
//     found here (ThreadSanitizer and the stress runs on real threads are for that).
//   - More preemptions, deaths or fibers than the plan has. Most bugs need few (Musuvathi and Qadeer, PLDI 2007), not
//     all. Without a note "bound not reached", schedules beyond the bound were left out.
//   - Data races: plain accesses run undivided with the step before them. A torn copy is not seen; the yield points that
//     a test sets are the only places at which plain code is interrupted.
//   - Time: a wait times out only when nobody else can go on (at other moments: as often as with_spurious() says).
//   - Death inside plain code: a kill comes before a step, never between two machine instructions.
//
// Pruning. A depth-first exploration leaves out what follows an execution that did dependent steps in the same order as
// one explored before. That is exact for data reached through atoms and for plain data that these protect. Plain data
// that is NOT properly protected may have its interleavings left out, unless there is a yield_point() between the
// accesses (as in the example above) or they are History records. unpruned() explores each schedule by itself; the
// tests do so in a soak.
//
// How it is like others: the interface of World/Atom follows folly's DeterministicSchedule, the report and the split
// into strategies follow shuttle, preemption bounding and fair spinning follow CHESS. It is not loom: loom models C11's
// weak memory, this does not.
#pragma once

#include "schedule/execution.hpp"
#include "schedule/explorer.hpp"
#include "schedule/model.hpp"
#include "schedule/plan.hpp"
