//! What somebody sees who looks: pictures and progress bars, in a terminal that does not answer.

#![cfg(target_os = "linux")]

use crate::scene::{answer, folder, on_terminal, scene, write_scene};

#[test]
fn a_picture_follows_the_text_and_asks_nothing() {
    let folder = folder("terminal");
    write_scene(&folder, "p", &scene(40, 30, 3, 0));
    let (told, code) = on_terminal(&folder, "xterm-256color", &["inspect", "p.png"]);
    let (text, picture) = told.split_once("40 x 30 px, grey").expect("the text");
    assert!(code == 0 && text.starts_with("kind             photo"), "{code}: {told:?}");
    assert!(!text.contains('\u{1b}') && picture.matches('\u{2584}').count() > 40 * 15 / 2, "{told:?}");
    // Kitty's question, and that for the kind of the terminal.
    assert!(!told.contains("\u{1b}_G") && !told.contains("\u{1b}[c"), "{told:?}");
    for (term, json) in [("dumb", ""), ("xterm-256color", "--json")] {
        let arguments = ["inspect", "p.png", json];
        let (told, code) = on_terminal(&folder, term, &arguments[..if json.is_empty() { 2 } else { 3 }]);
        assert!(code == 0 && told.contains("40 x 30 px, grey") && !told.contains('\u{1b}'), "{term}: {told:?}");
    }
}

#[test]
fn long_commands_show_how_far_they_are() {
    let folder = folder("bars");
    write_scene(&folder, "p", &scene(40, 30, 3, 0));
    let (told, code) = on_terminal(&folder, "xterm-256color", &["splat", "p.png", "p.csv", "-o", "g.npz"]);
    assert!(code == 0 && told.contains(" error 0.") && told.contains("wrote      g.npz"), "{code}: {told:?}");
    answer(&folder, &["manifest", ".", "-o", "m.jsonl"]);
    let (told, code) = on_terminal(&folder, "xterm-256color", &["run", "-m", "m.jsonl", "-o", "out", "--steps", "3"]);
    assert!(code == 0 && told.contains(" 1/1, ") && told.contains("photos  1: 1 written"), "{code}: {told:?}");
}
