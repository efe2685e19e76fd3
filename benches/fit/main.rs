//! The parts of a fit's step, whole fits, and a plain loop beside them.

#[path = "../common/mod.rs"]
mod common;
mod parts;
mod plain;
mod whole;

use common::Setting;

fn main() {
    let setting = Setting::new("fit");
    let mut criterion = setting.criterion();
    parts::run(&setting, &mut criterion);
    criterion.final_summary();
    // Asked for by name only, as `cargo bench --bench fit -- whole`, or with everything else.
    if std::env::args().skip(1).all(|argument| argument.starts_with("--") || "whole fits".contains(&argument)) {
        whole::run(&setting);
    }
}
