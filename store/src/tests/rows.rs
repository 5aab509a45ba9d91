//! How rows and lists are cut and spelled.

use proptest::prelude::*;
use sqlx::{Execute as _, QueryBuilder, Sqlite};

use crate::rows::{ROWS_PER_STATEMENT, push_list, runs, text};

proptest! {
    #[test]
    fn runs_hold_every_row_once_and_in_order(count in 0..5_000_usize) {
        let rows: Vec<usize> = (0..count).collect();
        let runs: Vec<&[usize]> = runs(&rows).collect();
        prop_assert!(runs.iter().all(|run| run.len().is_power_of_two() && run.len() <= ROWS_PER_STATEMENT));
        prop_assert_eq!(runs.concat(), rows);
    }
}

#[test]
fn a_list_is_padded_with_its_last_value() {
    let mut query = QueryBuilder::<Sqlite>::new("");
    push_list(&mut query, &["a", "b", "c"]);
    assert_eq!(query.sql().as_str().matches('?').count(), 4);
    let arguments = query.build().take_arguments().expect("encodes");
    assert_eq!(arguments.map(|arguments| sqlx::Arguments::len(&arguments)), Some(4));
}

#[test]
fn text_loses_nothing_but_nul() {
    assert_eq!(text("a\u{1f980}\n"), "a\u{1f980}\n");
    assert_eq!(text("\0a\0"), "a");
}
