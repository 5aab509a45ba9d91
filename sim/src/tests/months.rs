//! Twenty months, each from another seed; and the same seed twice.

use crate::scenario;

const DAYS: u64 = 30;

fn month(seed: u64) {
    if let Err(error) = scenario::runtime().unwrap().block_on(scenario::run(seed, DAYS, false)) {
        panic!("{error:#}");
    }
}

macro_rules! months {
    ($($name:ident: $seed:literal;)*) => {
        $(
            #[test]
            fn $name() {
                month($seed);
            }
        )*
    };
}

months! {
    a_month_of_seed_01: 1;
    a_month_of_seed_02: 2;
    a_month_of_seed_03: 3;
    a_month_of_seed_04: 4;
    a_month_of_seed_05: 5;
    a_month_of_seed_06: 6;
    a_month_of_seed_07: 7;
    a_month_of_seed_08: 8;
    a_month_of_seed_09: 9;
    a_month_of_seed_10: 10;
    a_month_of_seed_11: 11;
    a_month_of_seed_12: 12;
    a_month_of_seed_13: 13;
    a_month_of_seed_14: 14;
    a_month_of_seed_15: 15;
    a_month_of_seed_16: 16;
    a_month_of_seed_17: 17;
    a_month_of_seed_18: 18;
    a_month_of_seed_19: 19;
    a_month_of_seed_20: 20;
}

/// Line for line: everything that the world did, what came of it, what monitors decided and when, and a hash over all
/// places of all pieces each day. Not compared is what is left to chance between calls made at the same time: how many
/// pieces a read asks for while nodes fail, and so how many calls there are and what is earned by egress.
#[test]
fn the_same_seed_takes_the_same_course() {
    let run = |seed| {
        let (report, lines) =
            scenario::runtime().unwrap().block_on(scenario::run(seed, 8, false)).expect("it holds");
        assert_eq!(report.lines, lines.len());
        lines
    };
    let (first, second, other) = (run(101), run(101), run(102));
    for (number, (line, again)) in first.iter().zip(&second).enumerate() {
        assert_eq!(line, again, "line {number}");
    }
    assert_eq!(first.len(), second.len());
    assert_ne!(first, other);
}
