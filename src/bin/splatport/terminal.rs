//! Pictures in a terminal.

use std::env;

use splatport::Image;

use crate::pictures::rgb;

/// Columns of the terminal that a picture takes.
const WIDTH: u32 = 60;

/// Shows a picture as far as the terminal can. That it cannot is no error: whoever asked has the text.
pub fn show(picture: &Image) {
    let Some(config) = config(&env::var("TERM").unwrap_or_default()) else { return };
    if let Ok(rgb) = rgb(picture) {
        let _ = viuer::print(&rgb.into(), &config);
    }
}

/// How a terminal of this kind shows pictures, if it does. Kitty's protocol begins with a question, and `viuer` waits for the answer for
/// ever: only terminals that are known to answer are asked. (iTerm is known by its variables alone; elsewhere half blocks serve.)
fn config(term: &str) -> Option<viuer::Config> {
    let use_kitty = matches!(term, "xterm-kitty" | "xterm-ghostty");
    let config = viuer::Config { width: Some(WIDTH), absolute_offset: false, use_kitty, ..viuer::Config::default() };
    (term != "dumb").then_some(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_terminals_that_answer_are_asked() {
        let asked = |term: &str| config(term).map(|config| config.use_kitty);
        assert_eq!((asked("xterm-kitty"), asked("xterm-ghostty")), (Some(true), Some(true)));
        for term in ["", "linux", "xterm-256color", "screen", "tmux-256color"] {
            assert_eq!(asked(term), Some(false), "{term}");
        }
        assert_eq!(asked("dumb"), None);
    }
}
