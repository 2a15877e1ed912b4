//! The kernel command line, read as Linux reads it (Documentation/admin-guide/kernel-parameters.rst).
//!
//! Words are separated by white space, double quotes protect it. What the kernel does not know goes to init: a word with `=`
//! into its environment, in the place of an earlier one of that name, any other, and everything behind `--`, into its arguments; a word
//! with a dot before the `=` is a module's parameter and goes nowhere.
#![forbid(unsafe_code)]

use alloc::string::String;
use alloc::vec::Vec;

/// The environment that init starts with.
const ENVIRONMENT: [&str; 2] = ["HOME=/", "TERM=linux"];

/// What the command line asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandLine {
    /// `rdinit=`: the first program in the initramfs.
    pub rdinit: Option<String>,
    /// `init=`: the first program.
    pub init: Option<String>,
    /// `quiet`: only warnings and worse on the console.
    pub quiet: bool,
    /// `loglevel=`: messages of a smaller level (0 to 7, as syslog(2) has them) reach the console.
    pub log_level: Option<u8>,
    /// `maxcpus=`: at most this many cores are started, the boot core included.
    pub max_cores: Option<usize>,
    /// `panic=`: seconds until a restart after a panic; a negative number restarts at once, 0 (and nothing said) powers off.
    pub panic_seconds: Option<i32>,
    /// `selftest=`: names of the kernel's tests to run in place of init, with commas between.
    pub self_tests: Option<String>,
    /// Arguments of init.
    pub arguments: Vec<String>,
    /// Environment of init, `NAME=value` each, every name once.
    pub environment: Vec<String>,
}

/// The whole command line's words, quotes removed.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quoted = false;
    let mut started = false;
    for character in line.chars() {
        match character {
            '"' => {
                quoted = !quoted;
                started = true;
            }
            _ if character.is_whitespace() && !quoted => {
                if started {
                    words.push(core::mem::take(&mut word));
                }
                started = false;
            }
            _ => {
                word.push(character);
                started = true;
            }
        }
    }
    if started {
        words.push(word);
    }
    words
}

impl CommandLine {
    /// Reads a command line.
    #[must_use]
    pub fn parse(line: &str) -> Self {
        let mut parsed = Self { environment: ENVIRONMENT.map(String::from).into(), ..Self::default() };
        let mut words = words(line).into_iter();
        while let Some(word) = words.next() {
            if word == "--" {
                parsed.arguments.extend(words);
                break;
            }
            parsed.take(word);
        }
        parsed
    }

    fn take(&mut self, word: String) {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (word.as_str(), None),
        };
        match (name, value) {
            // As on Linux, what was given for init before it was named is dropped.
            ("rdinit", Some(value)) => {
                self.rdinit = Some(value.into());
                self.arguments.clear();
            }
            ("init", Some(value)) => {
                self.init = Some(value.into());
                self.arguments.clear();
            }
            ("quiet", None) => self.quiet = true,
            ("debug", None) => self.log_level = Some(10),
            ("loglevel", Some(value)) => self.log_level = value.parse().ok(),
            ("maxcpus", Some(value)) => self.max_cores = value.parse().ok(),
            ("nosmp", None) => self.max_cores = Some(1),
            ("panic", Some(value)) => self.panic_seconds = value.parse().ok(),
            ("selftest", Some(value)) => self.self_tests = Some(value.into()),
            (
                // There is one console: the device tree's.
                "console" | "earlycon" | "root" | "rootfstype" | "rootflags" | "ro" | "rw" | "nokaslr" | "mitigations"
                | "kpti",
                _,
            ) => {}
            (_, Some(_)) if name.contains('.') => {}
            (_, Some(_)) => match self.environment.iter_mut().find(|old| old.split('=').next() == Some(name)) {
                Some(old) => *old = word,
                None => self.environment.push(word),
            },
            (_, None) if name.contains('.') => {}
            (_, None) => self.arguments.push(word),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_words_are_the_kernel_s() {
        let line = CommandLine::parse(
            "console=ttyAMA0,115200 quiet loglevel=3 maxcpus=2 panic=-1 rdinit=/sbin/other selftest=a::b,c",
        );
        assert!(line.quiet);
        assert_eq!(line.log_level, Some(3));
        assert_eq!(line.max_cores, Some(2));
        assert_eq!(line.panic_seconds, Some(-1));
        assert_eq!(line.rdinit.as_deref(), Some("/sbin/other"));
        assert_eq!(line.self_tests.as_deref(), Some("a::b,c"));
        assert!(line.arguments.is_empty());
        assert_eq!(line.environment, ENVIRONMENT);
    }

    #[test]
    fn unknown_words_go_to_init() {
        let line = CommandLine::parse("single FOO=bar usbcore.nousb=1 -- quiet A=b --");
        assert_eq!(line.arguments, ["single", "quiet", "A=b", "--"]);
        assert_eq!(line.environment, ["HOME=/", "TERM=linux", "FOO=bar"]);
        assert!(!line.quiet);
    }

    #[test]
    fn a_later_word_replaces_an_earlier_one_of_its_name() {
        let line = CommandLine::parse("TERM=vt102 A=1 AB=2 A=3 HOME=/root");
        assert_eq!(line.environment, ["HOME=/root", "TERM=vt102", "A=3", "AB=2"]);
    }

    #[test]
    fn quotes_protect_white_space() {
        let line = CommandLine::parse("MESSAGE=\"hello  world\" \"one word\" \"\"");
        assert_eq!(line.environment.last().map(String::as_str), Some("MESSAGE=hello  world"));
        assert_eq!(line.arguments, ["one word", ""]);
    }

    #[test]
    fn nonsense_is_ignored() {
        let line = CommandLine::parse("maxcpus=many loglevel= panic=x \"");
        assert_eq!((line.max_cores, line.log_level, line.panic_seconds), (None, None, None));
        assert_eq!(line.arguments, [""]);
    }
}
