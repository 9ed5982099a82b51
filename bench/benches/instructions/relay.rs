//! The whole way, over loopback: from what one member's socket has to what the others' sockets get.

use gungraun::{library_benchmark, library_benchmark_group};

use crate::stage::Stage;

library_benchmark_group!(name = relay_group, benchmarks = [message, handshake]);

/// A room in which `speakers` have sent `each` messages that the relay has not read yet.
fn spoken(members: usize, speakers: usize, each: usize) -> Stage {
    let mut stage = Stage::with_members(members);
    // Once before it counts, so that the buffers are there.
    stage.speak(speakers, each);
    stage.settle();
    stage.expect_all_heard();
    stage.speak(speakers, each);
    stage
}

fn all_heard(mut stage: Stage) {
    stage.expect_all_heard();
}

// Messages of 128 bytes: read, numbered, batched, flushed and written to every other member.
#[library_benchmark]
#[bench::lone_in_room_of_10(args = (10, 1, 1), setup = spoken, teardown = all_heard)]
#[bench::lone_in_room_of_1000(args = (1000, 1, 1), setup = spoken, teardown = all_heard)]
#[bench::a_hundred_in_room_of_10(args = (10, 10, 10), setup = spoken, teardown = all_heard)]
#[bench::a_hundred_in_room_of_1000(args = (1000, 10, 10), setup = spoken, teardown = all_heard)]
fn message(stage: Stage) -> Stage {
    stage.settle();
    stage
}

/// A room with so many members, and somebody who wants to join them.
fn knocked(members: usize) -> Stage {
    // The last of them knocks too, so that the buffers are there.
    let mut stage = Stage::with_members(members - 1);
    stage.knock();
    stage.settle();
    stage.expect_welcome();
    stage.knock();
    stage
}

fn welcomed(mut stage: Stage) {
    stage.expect_welcome();
}

// A handshake with a join token: HTTP, the token, its name burnt, a seat, `welcome` and `join`.
#[library_benchmark]
#[bench::into_room_of_9(args = (9), setup = knocked, teardown = welcomed)]
fn handshake(stage: Stage) -> Stage {
    stage.settle();
    stage
}
